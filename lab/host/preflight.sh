# shellcheck shell=bash
# shellcheck disable=SC2154 # repository and state come from lib.sh
# What must be true before anything is made. Sourced after lib.sh and engine.sh.

# The published ports of compose.yaml, and what each is for.
declare -A ports=([8000]="the hub's web address" [8090]="the fake cloud's control port" [8091]="the image registry")
# Images, their build cache and a copy of the course image on three nodes; later runs need room for changes only.
export first_run_gib=12 next_run_gib=4

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# our_containers: those that a make up in this checkout started.
our_containers() {
    docker ps --all --quiet --filter label=com.docker.compose.project=swarmhub \
        --filter "label=com.docker.compose.project.working_dir=$repository"
}

check_ports() {
    local port holder
    for port in "${!ports[@]}"; do
        port_taken "$port" || continue
        holder=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (process \2)/p' | head -n 1)
        die "port $port of 127.0.0.1 is taken$holder; it is needed for ${ports[$port]}." \
            "Stop what listens there and run make up again."
    done
}

check_disk() { # GiB
    local need=${SWARMHUB_NEEDED_GIB:-$1} root free
    root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null || true)
    [ -d "${root:-}" ] || root=/var/lib
    free=$(df --output=avail -B1G "$root" | tail -n 1 | tr -d ' ')
    [ "$free" -ge "$need" ] || die "$root has $free GiB free and the local cloud needs $need GiB." \
        "Make room (docker system df shows what Docker holds) or move Docker's data root, and run make up again."
}

check_memory() {
    local need=3 free
    free=$(awk '/^MemAvailable:/{print int($2 / 1048576)}' /proc/meminfo)
    [ "$free" -ge "$need" ] || die "$free GiB of memory are available and the local cloud needs $need GiB." \
        "Close something large and run make up again."
}

check_machine() {
    [ "$(uname -s)" = Linux ] || die "the local cloud needs Linux: it runs systemd and Docker Engines in containers." \
        "Use a Linux virtual machine (Debian or Ubuntu, 2 cores, 8 GiB)."
}
