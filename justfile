# The fast path: what to run before every commit. `.ci/run` is the whole.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --lib --locked
    cargo test -p highwater-tests --test tidy --locked

# Everything that CI runs.
ci:
    bash .ci/run
