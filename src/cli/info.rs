//! `info`: describe a model.

use std::fs;

use clap::Args;
use serde_json::{Map, Value, json};
use sllm_ort::{Model, bundle::Variant, library_info};

use super::{ModelArgs, output};

#[derive(Args, Debug)]
pub struct InfoArgs {
    /// State work and memory for sentences of N tokens, bos and eos not counted [default: 16]
    #[arg(long, value_name = "N")]
    sentence_tokens: Option<usize>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &InfoArgs) -> anyhow::Result<()> {
    let model = args.model.load()?;
    let description = describe(&model, args.sentence_tokens)?;
    if args.model.is_json() {
        output::json(&description)?;
    } else {
        output::fields(&description)?;
    }
    Ok(())
}

fn describe(model: &Model, sentence_tokens: Option<usize>) -> anyhow::Result<Value> {
    let config = model.config();
    let library = library_info();
    Ok(json!({
        "model": config,
        "parameters": config.parameters(),
        "flops": config.flops(sentence_tokens)?,
        "memory": config.kv_bytes(sentence_tokens)?,
        "variant": model.variant(),
        "provider": model.provider().name(),
        "nodes": output::placement(model),
        "threads": model.threads(),
        "spin_micros": model.spinning().as_micros() as u64,
        "variants": model.bundle().variants.iter().map(variant).collect::<Vec<_>>(),
        "onnxruntime": library.map(|library| json!({
            "path": library.path.display().to_string(),
            "build": library.build,
        })),
        "provenance": model.bundle().provenance,
    }))
}

fn variant(variant: &Variant) -> Value {
    let size = |path| fs::metadata(path).map(|data| data.len()).ok();
    let mut graphs = Map::new();
    let mut weights_bytes = Some(0);
    for (role, graph) in &variant.graphs {
        let files = std::iter::once(&graph.file).chain(&graph.external_data);
        let bytes: Option<u64> = files.map(|file| size(&file.path)).sum();
        weights_bytes = weights_bytes.zip(bytes).map(|(sum, bytes)| sum + bytes);
        graphs.insert(
            role.to_string(),
            json!({"file": graph.file.name, "bytes": bytes}),
        );
    }
    json!({
        "name": variant.name,
        "precision": variant.precision,
        "providers": variant.providers,
        "weights_bytes": weights_bytes,
        "graphs": graphs,
    })
}
