//! `info`: describe a model.

use std::{collections::BTreeMap, fs};

use clap::Args;
use serde_json::{Value, json};
use sllm_ort::{Model, library_info};

use super::{ModelArgs, output};

#[derive(Args, Debug)]
pub struct InfoArgs {
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &InfoArgs) -> anyhow::Result<()> {
    let model = args.model.load()?;
    let description = describe(&model);
    if args.model.is_json() {
        output::json(&description)?;
    } else {
        let mut lines = Vec::new();
        flatten("", &description, &mut lines);
        let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, value) in lines {
            output::line(&format!("{key:width$}  {value}"))?;
        }
    }
    Ok(())
}

fn describe(model: &Model) -> Value {
    let config = model.config();
    let library = library_info();
    json!({
        "model": config,
        "parameters": config.parameters(),
        "memory": {
            "kv_bytes_per_sentence": config.kv_bytes_per_sentence(),
            "kv_bytes_per_token_of_a_sentence": config.kv_bytes_per_token(),
        },
        "variant": model.variant(),
        "provider": model.provider().name(),
        "threads": model.threads(),
        "variants": variants(model),
        "onnxruntime": library.map(|library| json!({
            "path": library.path.display().to_string(),
            "build": library.build,
        })),
        "provenance": model.bundle().provenance,
    })
}

fn variants(model: &Model) -> Vec<Value> {
    let graphs = |variant: &sllm_ort::bundle::Variant| -> BTreeMap<&str, Value> {
        let size = |path| fs::metadata(path).map(|data| data.len()).ok();
        variant
            .graphs
            .iter()
            .map(|(role, graph)| {
                let files = std::iter::once(&graph.file).chain(&graph.external_data);
                let bytes: Option<u64> = files.map(|file| size(&file.path)).sum();
                (
                    role.as_str(),
                    json!({"file": graph.file.name, "bytes": bytes}),
                )
            })
            .collect()
    };
    let describe = |variant: &sllm_ort::bundle::Variant| {
        json!({
            "name": variant.name,
            "precision": variant.precision,
            "providers": variant.providers,
            "graphs": graphs(variant),
        })
    };
    model.bundle().variants.iter().map(describe).collect()
}

/// Nested keys as dotted ones, in order.
fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let separator = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{separator}{key}"), value, lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{number}]"), item, lines);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            lines.push((prefix.to_owned(), items.join(", ")));
        }
        other => lines.push((prefix.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}
