# Sourced by the scripts beside it: goes to the root of the repository, and says how a step is run and skipped.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

export RUST_BACKTRACE="${RUST_BACKTRACE:-1}"
[ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never

# A check that cannot run here says so and ends. Alone it succeeds; inside `step` it is reported as skipped.
skip() {
    echo "SKIPPED $(basename "$0"): $*" >&2
    exit "${RINGIO_CI_SKIPPED:-0}"
}

fail() {
    echo "FAILED $(basename "$0"): $*" >&2
    exit 1
}

failed_steps=()

# step NAME COMMAND...: runs the command and prints one line with its seconds. A failure is kept for `finish`.
step() {
    local name=$1 began=$SECONDS status=0
    shift
    echo "---- $name"
    RINGIO_CI_SKIPPED=77 "$@" || status=$?
    case $status in
        0) echo "==== $name: ok, $((SECONDS - began)) s" ;;
        77) echo "==== $name: SKIPPED, $((SECONDS - began)) s" ;;
        124 | 137) echo "==== $name: FAILED, no end after $((SECONDS - began)) s" ;;
        *) echo "==== $name: FAILED, $((SECONDS - began)) s" ;;
    esac
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || failed_steps+=("$name")
}

finish() {
    if [ ${#failed_steps[@]} -gt 0 ]; then
        echo "==== $(basename "$0"): FAILED in ${failed_steps[*]}, $SECONDS s"
        exit 1
    fi
    echo "==== $(basename "$0"): ok, $SECONDS s"
}

# limited SECONDS COMMAND...: ends what hangs, with all that it started.
limited() {
    timeout --kill-after=10 "$@"
}

# need_component NAME COMMAND...: the command shows that the component is there; else it is added, else skipped.
need_component() {
    local name=$1
    shift
    "$@" >/dev/null 2>&1 && return
    echo "adding the component $name"
    limited 300 rustup component add "$name" >&2 || skip "no $name, and rustup cannot add it"
}

# need_nightly COMPONENT...: a nightly toolchain with these components; else it is installed, else skipped.
need_nightly() {
    command -v rustup >/dev/null || skip "no rustup to find a nightly toolchain with"
    if ! cargo +nightly --version >/dev/null 2>&1; then
        echo "installing a nightly toolchain"
        limited 600 rustup toolchain install nightly --profile minimal >&2 || skip "no nightly toolchain to be had"
    fi
    local component
    for component in "$@"; do
        rustup component list --toolchain nightly --installed | grep "^$component" >/dev/null && continue
        echo "adding the component $component to nightly"
        limited 300 rustup component add --toolchain nightly "$component" >&2 || skip "nightly has no $component"
    done
}

target_directory() {
    cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
