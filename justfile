# One-line recipes; plain cargo does the same.

# What CI asks for: format, lints, tests.
check:
    cargo fmt --check && cargo clippy --all-targets --locked -- -D warnings && cargo test --locked

# All tests.
test:
    cargo test --locked

# Writes the generated files (schemas, CRDs, reference pages).
update:
    UPDATE_GENERATED=1 cargo test --locked --test it generated || cargo test --locked --test it generated

# Formats the code.
fmt:
    cargo fmt

# Shows the whole loop on this machine.
demo:
    cargo run --locked -- demo
