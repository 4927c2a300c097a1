//! Many sessions on one model, in threads: each tells a story of its own.
//!
//! `cargo run --release --example threads`

use std::panic::resume_unwind;
use std::thread;

use sllm_ort::{GenerateOptions, LoadOptions, Model, Result};

const HEROES: [&str; 4] = ["fox", "bear", "bird", "girl"];

fn story(model: &Model, hero: &str, seed: u64) -> Result<String> {
    let mut session = model.session()?;
    session.append(&format!("Once upon a time, there was a little {hero}. "))?;
    let options = GenerateOptions::default()
        .with_max_sentences(6)
        .with_sampling(model.sampling().clone().with_seed(seed));
    for sentence in session.generate(options) {
        sentence?;
    }
    Ok(session.text())
}

fn main() -> Result<()> {
    let model = &Model::load("models/sllm-stories", LoadOptions::default())?;
    thread::scope(|scope| {
        let tell = |(hero, seed)| scope.spawn(move || story(model, hero, seed));
        let threads: Vec<_> = HEROES.into_iter().zip(0..).map(tell).collect();
        for thread in threads {
            let story = thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            println!("{}\n", story.trim_end());
        }
        Ok(())
    })
}
