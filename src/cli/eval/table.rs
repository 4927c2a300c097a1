//! The figures of one or two models as aligned text.

use sllm_ort::eval::{
    Evaluation, LengthScore, NextSentenceScore, NextTokenScore, ReconstructionScore,
};

use crate::cli::output::{self, percent};

/// What a row is called, and its figure for a model.
type Row = (String, Box<dyn Fn(&Evaluation) -> Option<String>>);

/// Perplexity, that of the paper, nll, bits per byte and token accuracy: of predicted tokens,
/// whichever they are.
type Figures = [f64; 5];

/// Aligned rows, one column for each model, and what is to be known to read them.
pub fn table(found: &[Evaluation]) -> Vec<String> {
    let names = |model: &Evaluation| Some(format!("{} {}", model.model, model.variant));
    let head: output::Row = (String::new(), found.iter().map(names).collect());
    let figures = |(name, figure): Row| (name, found.iter().map(figure).collect());
    let rows: Vec<output::Row> = [head]
        .into_iter()
        .chain(rows(found).into_iter().map(figures))
        .collect();
    output::table(&rows)
        .into_iter()
        .chain(notes(found))
        .collect()
}

fn notes(found: &[Evaluation]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut add = |name: &str, of: fn(&Evaluation) -> Option<&NextSentenceScore>| {
        let mut models = found.iter();
        if let Some(note) = models.find_map(|model| of(model)?.note.as_ref()) {
            notes.push(format!("{name}: {note}"));
        }
    };
    add("next sentence", |e| e.next_sentence.as_ref());
    add("bidirectional", |e| e.next_sentence_bidirectional.as_ref());
    let bytes = |model: &Evaluation| model.next_sentence.as_ref().map(|next| next.bytes);
    if let [model, baseline] = found
        && let (Some(one), Some(other)) = (bytes(model), bytes(baseline))
        && one != other
    {
        notes.push(format!(
            "next sentence: the two cut the text differently, so that it is not quite the same one \
             ({one} and {other} bytes)"
        ));
    }
    notes
}

fn rows(found: &[Evaluation]) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        row("records", |e| Some(e.records.to_string())),
        row("sentences", |e| Some(e.sentences.to_string())),
        row("bytes", |e| Some(e.bytes.to_string())),
        row("truncated sentences", |e| {
            (e.truncated_sentences > 0).then(|| e.truncated_sentences.to_string())
        }),
    ];
    rows.extend(rows_of("reconstruction", |e| {
        e.reconstruction.as_ref().map(of_reconstruction)
    }));
    rows.push(row("  exact", |e| {
        Some(percent(e.reconstruction.as_ref()?.exact))
    }));
    rows.push(row("  round trip, of bytes", |e| {
        Some(percent(e.reconstruction.as_ref()?.round_trip))
    }));
    rows.push(row("  tokens per sentence", |e| {
        Some(number(e.reconstruction.as_ref()?.tokens_per_sentence))
    }));
    rows.extend(rows_by_length(found));
    rows.extend(rows_of("next sentence", |e| {
        e.next_sentence.as_ref().map(of_next_sentence)
    }));
    rows.extend(rows_of("bidirectional", |e| {
        e.next_sentence_bidirectional.as_ref().map(of_next_sentence)
    }));
    rows.extend(rows_of("next token", |e| {
        e.next_token.as_ref().map(of_next_token)
    }));
    rows.extend([
        row("stop: accuracy", |e| {
            Some(percent(e.stop.as_ref()?.accuracy))
        }),
        row("  recall", |e| Some(percent(e.stop.as_ref()?.recall?))),
        row("  precision", |e| {
            Some(percent(e.stop.as_ref()?.precision?))
        }),
        row("seconds", |e| Some(format!("{:.1}", e.seconds))),
    ]);
    rows
}

fn row(name: &str, figure: fn(&Evaluation) -> Option<String>) -> Row {
    (name.to_owned(), Box::new(figure))
}

fn rows_of(name: &str, of: fn(&Evaluation) -> Option<Figures>) -> [Row; 5] {
    let row = |name: &str, place: usize, show: fn(f64) -> String| -> Row {
        let figure = move |e: &Evaluation| of(e).map(|figures| show(figures[place]));
        (name.to_owned(), Box::new(figure))
    };
    [
        row(&format!("{name}: perplexity"), 0, number),
        row("  as in the paper", 1, number),
        row("  nll in nats", 2, number),
        row("  bits per byte", 3, number),
        row("  token accuracy", 4, percent),
    ]
}

fn of_next_sentence(score: &NextSentenceScore) -> Figures {
    [
        score.perplexity,
        score.paper_perplexity,
        score.nll,
        score.bits_per_byte,
        score.token_accuracy,
    ]
}

fn of_next_token(score: &NextTokenScore) -> Figures {
    [
        score.perplexity,
        score.paper_perplexity,
        score.nll,
        score.bits_per_byte,
        score.token_accuracy,
    ]
}

fn of_reconstruction(score: &ReconstructionScore) -> Figures {
    [
        score.perplexity,
        score.paper_perplexity,
        score.nll,
        score.bits_per_byte,
        score.token_accuracy,
    ]
}

fn rows_by_length(found: &[Evaluation]) -> Vec<Row> {
    // Two models may cut the text differently, and each has the lengths that it met.
    let first = |length: &str| -> Option<u64> { length.split(['-', '+']).next()?.parse().ok() };
    let mut lengths: Vec<(Option<u64>, String)> = found
        .iter()
        .filter_map(|model| model.reconstruction.as_ref())
        .flat_map(|score| &score.by_length)
        .map(|bin| (first(&bin.length), bin.length.clone()))
        .collect();
    lengths.sort();
    lengths.dedup();
    let row = |name: String, length: String, figure: fn(&LengthScore) -> String| -> Row {
        let figure = move |e: &Evaluation| {
            let mut bins = e.reconstruction.as_ref()?.by_length.iter();
            bins.find(|bin| bin.length == length).map(figure)
        };
        (name, Box::new(figure))
    };
    let rows = |(_, length): (Option<u64>, String)| {
        [
            row(format!("  exact, {length} tokens"), length.clone(), |bin| {
                format!("{} of {}", percent(bin.exact), bin.sentences)
            }),
            row("    token accuracy".into(), length, |bin| {
                percent(bin.token_accuracy)
            }),
        ]
    };
    lengths.into_iter().flat_map(rows).collect()
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}
