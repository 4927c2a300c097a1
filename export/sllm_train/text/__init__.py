"""From text to sentences, as the runtime cuts them (src/text in Rust)."""
