# shellcheck shell=bash
# shellcheck disable=SC2154 # repository and state come from lib.sh
# The images of the local cloud, built when missing or stale. Sourced after lib.sh and engine.sh.

base_image=debian:trixie-slim

ensure_base_image() {
    docker image inspect "$base_image" >/dev/null 2>&1 && return
    if timeout 120 docker pull --quiet "$base_image" >/dev/null 2>&1; then
        return
    fi
    say "no container registry can be reached: making $base_image with debootstrap from this machine's apt sources (about a minute)"
    is_root || die "debootstrap needs root." "Run: sudo make up" "or, where a registry can be reached: docker pull $base_image"
    local mirror root=$state/base
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || die "found no Debian mirror in this machine's apt sources." "Run where a registry can be reached: docker pull $base_image"
    command -v debootstrap >/dev/null || apt_install debootstrap
    rm -rf "$root"
    quietly debootstrap debootstrap --variant=minbase trixie "$root" "$mirror"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* \
        "$root"/usr/share/{doc,man,locale}/*
    # pip and npm inside the build must trust what they trust here.
    local ca=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}} changes=()
    if [ -s "$ca" ]; then
        install -D -m 0644 "$ca" "$root/etc/ssl/machine-ca.crt"
        changes=(--change "ENV PIP_CERT=/etc/ssl/machine-ca.crt NODE_EXTRA_CA_CERTS=/etc/ssl/machine-ca.crt")
    fi
    tar -C "$root" -c . | docker import "${changes[@]}" --change 'CMD ["bash"]' - "$base_image" >/dev/null
    rm -rf "$root"
}

# content_hash PATH...: one hash over names, modes and contents of all files below these paths, and the base image.
content_hash() {
    (
        cd "$repository" || exit 1
        docker image inspect --format '{{.Id}}' "$base_image"
        find "$@" -type f -not -path '*/__pycache__/*' -not -name '*.pyc' -print0 | sort -z | xargs -0 stat --format '%a %n'
        find "$@" -type f -not -path '*/__pycache__/*' -not -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum
    ) | sha256sum | cut -c1-16
}

# build_image NAME DOCKERFILE TARGET PATH...: swarmhub/NAME:latest, built unless its tag by content is there.
build_image() {
    local name=$1 dockerfile=$2 target=$3 tag
    shift 3
    tag=swarmhub/$name:$(content_hash "$dockerfile" "$@")
    if ! docker image inspect "$tag" >/dev/null 2>&1; then
        say "building the image $name"
        DOCKER_BUILDKIT=1 quietly "build-$name" docker build --progress plain --tag "$tag" \
            --file "$repository/$dockerfile" ${target:+--target "$target"} "$repository"
    fi
    docker tag "$tag" "swarmhub/$name:latest"
}

build_images() {
    local images=lab/images
    build_image registry $images/registry/Dockerfile "" $images/registry
    build_image notebook $images/notebook/Dockerfile "" requirements/notebook.txt
    build_image proxy $images/proxy/Dockerfile ""
    build_image anchor $images/anchor/Dockerfile ""
    build_image hub $images/hub/Dockerfile "" requirements/hub.txt pyproject.toml LICENSE agent swarmhub
    build_image cloud $images/cloud/Dockerfile "" requirements/cloud.txt lab/__init__.py lab/cloud
    build_image worker $images/instance/Dockerfile worker ami agent requirements/agent.txt $images/instance
    build_image manager $images/instance/Dockerfile manager ami agent requirements/agent.txt $images/instance
}

# push_image NAME: into the local cloud's registry; prints the reference by digest that its nodes use.
push_image() {
    local name=$1 here=127.0.0.1:8091/swarmhub/$1:latest digest
    docker tag "swarmhub/$name:latest" "$here"
    quietly "push-$name" docker push "$here"
    # From the push itself: the engine also remembers digests of earlier pushes, to a registry that is gone.
    digest=$(sed -n 's/^latest: digest: \(sha256:[0-9a-f]*\) .*/\1/p' "$state/log/push-$name.log")
    [ -n "$digest" ] || die "the registry gave no digest for the image $name." "See var/log/push-$name.log"
    docker image rm "$here" >/dev/null
    echo "registry:5000/swarmhub/$name@$digest"
}
