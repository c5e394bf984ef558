# The fast path: what to run before every commit. `.ci/run` is the whole.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --lib --locked
    cargo test -p highwater-tests --test tidy --locked

# Real brokers, real faults, as root: `just soak 60` is the long one. The report is in soak-report/.
soak minutes="8" seed="1":
    cargo build --release --locked -p highwater -p highwater-tests --bin highwater --bin highwater-soak
    target/release/highwater-soak --minutes {{minutes}} --seed {{seed}} --commit "$(git rev-parse --short HEAD)"

# Everything that CI runs.
ci:
    bash .ci/run
