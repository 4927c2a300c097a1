//! Gathers what the other benchmarks found into `docs/speed`: one JSON file and drawings.
//!
//! Reads what criterion left, and the lines of `sllm-ort bench` in `target/bench`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../src/plot.rs"]
#[allow(dead_code, reason = "its tests run with the library")]
mod plot;

use std::{collections::BTreeMap, env, error::Error, fs, path::Path, thread};

use plot::Bars;
use serde_json::{Value, json};

const CRITERION: &str = "target/criterion";
const LINES: &str = "target/bench";
const FIGURES: &str = "docs/speed";

type Found<T> = Result<T, Box<dyn Error>>;

fn main() -> Found<()> {
    let parts = parts(Path::new(CRITERION))?;
    let generation = lines(Path::new(LINES))?;
    if parts.is_empty() || generation.is_empty() {
        return Err(format!("{CRITERION} or {LINES} is empty: run `make bench`").into());
    }
    fs::create_dir_all(FIGURES)?;
    let figures = json!({ "machine": machine()?, "parts": parts, "generation": generation });
    let text = serde_json::to_string_pretty(&figures)? + "\n";
    fs::write(format!("{FIGURES}/figures.json"), text)?;
    draw(&generation, &parts)
}

/// Group and name of each of criterion's benchmarks, with the median of its times.
fn parts(folder: &Path) -> Found<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let estimates = path.join("new/estimates.json");
        if estimates.is_file() {
            let benchmark: Value = read(&path.join("new/benchmark.json"))?;
            let median = &read(&estimates)?["median"];
            let ms = |value: &Value| value.as_f64().unwrap_or(f64::NAN) / 1e6;
            let interval = &median["confidence_interval"];
            let each = benchmark["throughput"].as_object();
            let name = benchmark["full_id"].as_str().unwrap_or_default().to_owned();
            let figures = json!({
                "median_ms": ms(&median["point_estimate"]),
                "confidence_interval_95_ms": [ms(&interval["lower_bound"]), ms(&interval["upper_bound"])],
                "of": each,
            });
            found.insert(name, figures);
        } else if path.is_dir() && path.file_name().is_some_and(|name| name != "report") {
            found.extend(parts(&path)?);
        }
    }
    Ok(found)
}

/// What `sllm-ort bench` printed, in the order of the files' names.
fn lines(folder: &Path) -> Found<Vec<Value>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Found<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn machine() -> Found<Value> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processors.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    Ok(json!({
        "processor": name,
        "processors": thread::available_parallelism()?.get(),
        "onnxruntime": env::var("ORT_VERSION").ok(),
        "sllm-ort": env!("CARGO_PKG_VERSION"),
    }))
}

/// A chart of each model, with a bar for each number of continuations together.
fn generation_charts(lines: &[Value]) -> Vec<(String, Vec<(String, f64)>)> {
    let mut charts: Vec<(String, Vec<(String, f64)>)> = Vec::new();
    for line in lines {
        let title = format!("{} {}", text(line, "model"), text(line, "variant"));
        let speed = line["output_tokens_per_second"].as_f64().unwrap_or(0.0);
        let bar = (line["batch"].to_string(), speed);
        match charts.iter_mut().find(|(known, _)| *known == title) {
            Some((_, bars)) => bars.push(bar),
            None => charts.push((title, vec![bar])),
        }
    }
    charts
}

fn append_bars(parts: &BTreeMap<String, Value>) -> Vec<(String, f64)> {
    let shown = |(name, figures): (&String, &Value)| {
        let cached = name.strip_prefix("sllm-125m-h1-long/append after/")?;
        Some((cached.to_owned(), figures["median_ms"].as_f64()?))
    };
    let mut bars: Vec<_> = parts.iter().filter_map(shown).collect();
    bars.sort_by_key(|(cached, _)| cached.parse().unwrap_or(0));
    bars
}

fn text<'v>(line: &'v Value, key: &str) -> &'v str {
    line[key].as_str().unwrap_or_default()
}

fn draw(generation: &[Value], parts: &BTreeMap<String, Value>) -> Found<()> {
    let generation = generation_charts(generation);
    let appending = append_bars(parts);
    let mut charts: Vec<Bars<'_>> = generation
        .iter()
        .map(|(title, bars)| Bars {
            title,
            label_axis: "continuations together",
            value_axis: "tokens/s",
            bars,
        })
        .collect();
    charts.push(Bars {
        title: "sllm-125m-h1 cpu-int8: encoding a sentence and taking it into the context",
        label_axis: "sentences in the context",
        value_axis: "ms",
        bars: &appending,
    });
    fs::write(format!("{FIGURES}/speed.svg"), plot::bars(&charts)?)?;
    Ok(())
}
