//! `segment`: show where a text is cut. Needs a bundle's tokenizer, but no ONNX Runtime.

use clap::Args;
use serde_json::json;
use sllm_ort::{bundle::Bundle, text::TextPipeline};

use super::{BundleArgs, Format, input, output};

#[derive(Args, Debug)]
pub struct SegmentArgs {
    /// Text [default: read from stdin]
    text: Option<String>,
    #[command(flatten)]
    bundle: BundleArgs,
}

pub fn run(args: &SegmentArgs) -> anyhow::Result<()> {
    let bundle = Bundle::open(args.bundle.dir()?)?;
    let longest = bundle.config.longest_sentence()?;
    let pipeline = TextPipeline::new(bundle.load_tokenizer()?, bundle.segmentation, longest)?;
    let text = match &args.text {
        Some(text) => text.clone(),
        None => input::stdin()?,
    };
    let mut pieces = pipeline.sentences(&text)?;
    for (index, piece) in pieces.by_ref().enumerate() {
        let piece = piece?;
        if piece.truncated {
            output::warn(&format!("{:?} was cut short", piece.text));
        }
        let tokens = piece.ids.len();
        match args.bundle.format {
            Format::Json => {
                output::json(&json!({"index": index, "text": piece.text, "tokens": tokens}))?;
            }
            Format::Text => output::line(&format!("{index:4} {tokens:3} {:?}", piece.text))?,
        }
    }
    output::warn_dropped(pieces.dropped());
    Ok(())
}
