# shellcheck shell=bash
# shellcheck disable=SC2154 # repository and state come from lib.sh
# A Docker Engine with the compose and buildx plugins: the machine's own, or installed and started here.
# Sourced after lib.sh.

engine_dir=$state/engine
plugin_dir=/usr/local/lib/docker/cli-plugins

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }

# apt_candidate PACKAGE: the version apt would install, empty when there is none.
apt_candidate() { apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" {print $2}'; }

start_engine() {
    if [ -d /run/systemd/system ]; then
        quietly engine-start systemctl start docker
    else
        mkdir -p "$engine_dir"
        # No service manager here: the engine is ours to start, and to stop again in `make down`.
        # It must not keep this script's lock file open.
        setsid dockerd --log-level warn --pidfile "$engine_dir/dockerd.pid" >"$engine_dir/dockerd.log" 2>&1 9>&- &
    fi
    wait_for 60 "the Docker Engine to answer" engine_answers ||
        die "the Docker Engine does not start: $(tail -n 3 "$engine_dir/dockerd.log" 2>/dev/null)" \
            "Start it yourself (see docker info) and run make up again."
}

# stop_engine: stops the engine if, and only if, start_engine started it.
stop_engine() {
    local pid
    [ -s "$engine_dir/dockerd.pid" ] || return 0
    pid=$(cat "$engine_dir/dockerd.pid")
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        wait_for 60 "the Docker Engine to stop" test ! -d "/proc/$pid" || true
    fi
    rm -rf "$engine_dir"
}

ensure_engine() {
    if ! engine_answers; then
        is_root || die "no Docker Engine answers (docker info), and only root can install or start one." \
            "Run: sudo make up" "or start your engine and let $(id -un) use it: sudo usermod -aG docker $(id -un)"
        if ! command -v dockerd >/dev/null; then
            apt_install docker.io iptables
            # Debian 13 has the command in a package of its own.
            command -v docker >/dev/null || apt_install docker-cli
        fi
        say "starting the Docker Engine"
        start_engine
    fi
    docker compose version >/dev/null 2>&1 || install_plugin compose
    docker buildx version >/dev/null 2>&1 || install_plugin buildx
}

install_plugin() { # compose|buildx
    local plugin=$1 package
    is_root || die "the command docker $plugin is missing, and only root can install it." "Run: sudo make up"
    [ -n "${apt_updated:-}" ] || quietly apt-update apt-get update
    apt_updated=1
    for package in "docker-$plugin-v2" "docker-$plugin-plugin" "docker-$plugin"; do
        case $(apt_candidate "$package") in
        "" | 1.*) ;; # docker-compose 1 is another program
        *)
            apt_install "$package"
            docker "$plugin" version >/dev/null 2>&1 && return
            ;;
        esac
    done
    install_plugin_from_trixie "$plugin"
    docker "$plugin" version >/dev/null 2>&1 || die "docker $plugin does not run after its installation." \
        "Install Docker's $plugin plugin yourself and run make up again."
}

# debian_mirror: where this machine's own packages come from; empty where no source is Debian's.
debian_mirror() {
    # Not every one of these files is there on every machine, which is no failure.
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        awk '$1 == "URIs:" {print $2}
             $1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; next}}' |
        awk '/\/debian\/?$/ && !found {print; found = 1}'
}

# Debian 12 has no compose 2; Debian 13's plugins are static programs that run there too.
install_plugin_from_trixie() { # compose|buildx
    local apt=$state/apt mirror
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || die "this system's packages hold no docker $1 plugin." "Install it yourself and run make up again."
    say "fetching docker $1 from Debian 13"
    rm -rf "$apt"
    mkdir -p "$apt"/{parts,lists/partial,cache/archives/partial,root}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts"
        -o "Dir::Etc::preferencesparts=$apt/parts" -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
        -o Dir::State::status=/dev/null -o APT::Sandbox::User=root)
    quietly plugin-update apt-get "${options[@]}" update
    (cd "$apt" && quietly plugin-download apt-get "${options[@]}" download "docker-$1")
    dpkg -x "$apt"/docker-"$1"_*.deb "$apt/root"
    install -D -m 0755 "$apt/root/usr/libexec/docker/cli-plugins/docker-$1" "$plugin_dir/docker-$1"
    rm -rf "$apt"
}
