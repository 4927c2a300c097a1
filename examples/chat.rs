//! A story in turns: `/back` takes back what the model said last, `/save FILE` and `/load FILE` keep
//! and fetch the story, an empty line ends: `cargo run --release --example chat`

use std::io::stdin;

use sllm_ort::{GenerateOptions, LoadOptions, Model, Result, Session};

fn main() -> Result<()> {
    let model = Model::load("models/sllm-stories", LoadOptions::default())?;
    let mut session = model.session()?;
    let mut said = 0;
    for (turn, line) in stdin().lines().map_while(std::io::Result::ok).enumerate() {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("", _) => break,
            ("/back", _) => session.rewind(std::mem::take(&mut said))?,
            ("/save", file) => session.save(file)?,
            ("/load", file) => (session, said) = (Session::load(&model, file)?, 0),
            _ => {
                if session.len() > 100 {
                    session.drop_oldest(50)?;
                }
                session.append(&(line + " "))?;
                let sampling = model.sampling().clone().with_seed(turn as u64);
                let options = GenerateOptions::default()
                    .with_max_sentences(3)
                    .with_sampling(sampling);
                let mut generation = session.generate(options);
                for sentence in generation.by_ref() {
                    print!("{}", sentence?.text);
                }
                said = generation.sentences();
                println!();
            }
        }
    }
    Ok(())
}
