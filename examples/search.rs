//! Finds the sentences of a text that are most like a query, by the angle of their vectors.
//!
//! `cargo run --release --example search -- "The dog was happy."`

use sllm_ort::{LoadOptions, Model, Result};

const TEXT: &str = "The little fox was very happy. It was a cold day. Tom had a red ball. \
    The bird sat in the tree. The cat was sad. They ate cake and drank milk.";

fn main() -> Result<()> {
    let query = std::env::args().nth(1);
    let query = query.unwrap_or_else(|| "The dog was happy.".into());
    let model = Model::load("models/sllm-stories", LoadOptions::default())?;
    let sentences = model.text_pipeline().sentences(TEXT)?;
    let sentences = sentences.collect::<Result<Vec<_>>>()?;
    let vectors = model.encode_sentences(&sentences)?;
    let wanted = model.encode(&[&query])?;
    let wanted = wanted.row(0);
    let mut found: Vec<_> = sentences
        .iter()
        .zip(vectors.rows())
        .map(|(sentence, vector)| {
            let lengths = vector.dot(&vector).sqrt() * wanted.dot(&wanted).sqrt();
            (vector.dot(&wanted) / lengths, sentence.text.trim())
        })
        .collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (similarity, sentence) in found {
        println!("{similarity:.3}  {sentence}");
    }
    Ok(())
}
