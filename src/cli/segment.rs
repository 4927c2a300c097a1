//! `segment`: show where a text is cut. Needs a bundle's tokenizer, but no ONNX Runtime.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use sllm_ort::{bundle::Bundle, text::TextPipeline};

use super::{BundleArgs, Format, input, output};

#[derive(Args, Debug)]
pub struct SegmentArgs {
    /// Text; - for stdin [default: read from stdin]
    #[arg(value_parser = input::text_argument)]
    text: Option<String>,
    /// Read the text from a file; - for stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    #[command(flatten)]
    bundle: BundleArgs,
}

pub fn run(args: &SegmentArgs) -> anyhow::Result<()> {
    let text = input::text(args.text.as_deref(), args.file.as_deref(), "the text")?;
    input::check_text(&text, "the text")?;
    let bundle = Bundle::open(args.bundle.dir()?)?;
    let longest = bundle.config.longest_sentence()?;
    let pipeline = TextPipeline::new(bundle.load_tokenizer()?, bundle.segmentation, longest)?;
    input::warn_of_unread_stdin(args.text.iter());
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
