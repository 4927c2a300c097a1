//! `info`: describe a model.

use std::fs;

use clap::Args;
use serde_json::{Map, Value, json};
use sllm_ort::{MatMulKernel, Model, bundle::Variant, config::ModelKind, library_info};

use super::{ModelArgs, output};

#[derive(Args, Debug)]
pub struct InfoArgs {
    /// Report FLOPs and memory for sentences of N tokens, bos and eos not counted [default: 16]
    #[arg(long, value_name = "N")]
    sentence_tokens: Option<usize>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &InfoArgs, verbose: bool) -> anyhow::Result<()> {
    let model = args.model.load()?;
    let description = describe(&model, args.sentence_tokens)?;
    if args.model.is_json() {
        output::json(&description)?;
    } else if verbose {
        output::fields(&description)?;
    } else {
        for (name, told) in summary(&model, &description) {
            output::line(&format!("{name:<11} {told}"))?;
        }
    }
    Ok(())
}

/// What a person wants to know first.
fn summary(model: &Model, description: &Value) -> Vec<(&'static str, String)> {
    let config = model.config();
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let size = |bytes: &Value| output::size(number(bytes));
    let names: Vec<&str> = model
        .bundle()
        .variants
        .iter()
        .map(|v| v.name.as_str())
        .collect();
    let memory = &description["memory"];
    let unit = if config.kind == ModelKind::Opt {
        "token"
    } else {
        "sentence"
    };
    let mut lines = vec![
        ("model", format!("{} (kind {})", config.name, config.kind)),
        (
            "parameters",
            format!(
                "{:.2} million",
                number(&description["parameters"]["total"]) / 1e6
            ),
        ),
        (
            "size",
            format!(
                "width {}, vocabulary {}",
                config.hidden_size, config.vocab_size
            ),
        ),
    ];
    if let Some(longest) = config.max_sentence_tokens {
        let context = config
            .max_sentences
            .map(|most| format!(", {most} of them in a context"));
        lines.push((
            "sentences",
            format!(
                "up to {}{}",
                output::count(longest - 1, "token"),
                context.unwrap_or_default()
            ),
        ));
    }
    let entry = ["kv_bytes_per_sentence", "kv_bytes_per_token_of_text"];
    if let Some(bytes) = entry.into_iter().find_map(|key| memory[key].as_f64()) {
        let full = size(&memory["kv_bytes_full_context"]);
        lines.push((
            "KV cache",
            format!("{} a {unit}, {full} at most", output::size(bytes)),
        ));
    }
    let kernel = model.matmul_kernel();
    let kernel = kernel.map(|kernel| format!(", products by {kernel}"));
    lines.extend([
        ("generation", generation(model)),
        (
            "variant",
            format!("{} (of {})", model.variant(), names.join(", ")),
        ),
        (
            "provider",
            format!(
                "{}, {} of {} nodes, {}{}",
                model.provider(),
                model.provider_assignment().of(model.provider()),
                model.provider_assignment().total(),
                output::count(model.threads(), "thread"),
                kernel.unwrap_or_default()
            ),
        ),
    ]);
    if let Some(library) = library_info() {
        let version = library.version.unwrap_or_default();
        lines.push((
            "runtime",
            format!("ONNX Runtime {version}, {}", library.path.display()),
        ));
    }
    lines.push(("bundle", model.bundle().dir.display().to_string()));
    lines
}

/// How text is generated if nothing else is asked for.
fn generation(model: &Model) -> String {
    let sampling = model.sampling();
    let mut parts = vec![match sampling.temperature() {
        0.0 => "greedy".to_owned(),
        temperature => format!("temperature {temperature}"),
    }];
    if sampling.guidance_scale() > 1.0 {
        parts.push(format!("guidance scale {}", sampling.guidance_scale()));
    }
    if sampling.top_p() < 1.0 {
        parts.push(format!("top-p {}", sampling.top_p()));
    }
    if sampling.min_p() > 0.0 {
        parts.push(format!("min-p {}", sampling.min_p()));
    }
    if let Some(k) = sampling.top_k() {
        parts.push(format!("top-k {k}"));
    }
    if sampling.repetition_penalty() > 1.0 {
        parts.push(format!(
            "repetition penalty {}",
            sampling.repetition_penalty()
        ));
    }
    if sampling.dry_multiplier() > 0.0 {
        parts.push(format!(
            "DRY multiplier {}, base {}, allowed length {}",
            sampling.dry_multiplier(),
            sampling.dry_base(),
            sampling.dry_allowed_length()
        ));
    }
    if let Some(n) = sampling.no_repeat_ngram() {
        parts.push(format!("no {n} tokens twice"));
    }
    if model.generation_defaults().avoid_repeats == Some(true) {
        parts.push("no sentence twice".to_owned());
    }
    parts.join(", ")
}

fn describe(model: &Model, sentence_tokens: Option<usize>) -> anyhow::Result<Value> {
    let config = model.config();
    let library = library_info();
    Ok(json!({
        "model": config,
        "parameters": config.parameters(),
        "flops": config.flops(sentence_tokens)?,
        "memory": model.kv_bytes(sentence_tokens)?,
        "variant": model.variant(),
        "provider": model.provider().name(),
        "nodes": output::provider_assignment(model),
        "threads": model.threads(),
        "spin_micros": model.spinning().as_micros() as u64,
        "matmul_kernel": model.matmul_kernel().map(MatMulKernel::name),
        "variants": model.bundle().variants.iter().map(variant).collect::<Vec<_>>(),
        "onnxruntime": library.map(|library| json!({
            "path": library.path.display().to_string(),
            "version": library.version,
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
