//! Continues a text, and prints each piece of it as soon as it is decoded.
//!
//! `cargo run --release --example stream -- "Once upon a time, there was a little fox. "`

use std::io::{Write as _, stdout};

use sllm_ort::{GenerateOptions, LoadOptions, Model, Result};

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1);
    let prompt = prompt.unwrap_or_else(|| "Once upon a time, there was a little fox. ".into());
    let model = Model::load("models/sllm-stories", LoadOptions::default())?;
    let mut session = model.session()?;
    session.append(&prompt)?;
    print!("{prompt}");
    let mut generation = session.generate(GenerateOptions::default().with_max_sentences(8));
    while let Some(sentence) = generation.next_with(|text| {
        print!("{text}");
        stdout().flush().ok();
    }) {
        sentence?;
    }
    println!();
    Ok(())
}
