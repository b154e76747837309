# The commands of this repository. `just ci` is what `.ci/run` and a merge run; the others are
# its steps one by one, with the same arguments as in tests/run.

# Lists the recipes.
default:
    @just --list

# Formats everything.
fmt:
    cargo fmt --all

# Formatting and clippy, as CI judges them.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# Every test; with arguments only those that match (`just test -E 'test(/^e2e::upgrade/)'`).
test *args:
    cargo nextest run --workspace {{args}}
    cargo test --workspace --doc --quiet

# The documentation of all crates, without warnings.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

# Licences, bans and sources of dependencies, and advisories (which need the network).
deny:
    cargo deny check

# Each fuzz target for a while, from the crates' corpora. Needs nightly and cargo-fuzz.
fuzz-smoke seconds="20":
    #!/usr/bin/env bash
    set -euo pipefail
    for target in request:core/corpus/request response:core/corpus/response \
        chunked:core/corpus/chunked http2_request:core/corpus/http2_request \
        http2_response:core/corpus/http2_response \
        proxy_protocol:core/corpus/proxy_protocol client_hello:core/corpus/client_hello \
        path:router/corpus/path \
        router:router/corpus/router config:config/corpus \
        token:filters/corpus/token; do
        name=${target%%:*}
        mkdir -p "fuzz/corpus/$name"
        cargo +nightly fuzz run "$name" "fuzz/corpus/$name" "${target#*:}" -- \
            -max_total_time={{seconds}} -max_len=4096
    done

# Mixed traffic over all protocols on a release build, with reloads and a dying origin.
soak seconds="1800" driver="io_uring":
    cargo build --release
    RINGGATE_BINARY=target/release/ringgate RINGGATE_SOAK_SECONDS={{seconds}} \
        cargo nextest run --test integration --run-ignored only --no-capture \
        -E 'test(/^soak::protocols::mixed_traffic_on_{{driver}}$/)'

# That the micro benches still build and run; their figures mean nothing here.
bench-smoke:
    cargo bench -p ringgate-router -p ringgate-core -p ringgate-filters \
        --bench lookup --bench heads --bench bodies --bench memory --bench chain -- --test

# Instructions of the data plane's parts beside their baselines: `just instructions bless` makes
# what they are now the baselines, `just instructions request` counts whole requests.
instructions what="check":
    cargo run -p ringgate-bench -- instructions {{what}}

# CPU per request beside other proxies, measured in turn; with arguments those of `peers`.
bench-peers *args:
    cargo build --release
    target/release/ringgate-bench peers {{args}}

# Whether a build is slower than the one in `base`, in release mode too.
gate base *args:
    cargo build --release
    target/release/ringgate-bench gate --base {{base}} {{args}}

# Everything that CI checks.
ci:
    ./tests/run
