//! Ranks a vocabulary: all tokens by a coarse product, the best of them by exact ones.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use half::{f16, slice::HalfFloatSliceExt as _};
use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::{
        DynValueTypeMarker,
        TensorElementType::{Bool, Float16, Float32, Int64},
    },
};

use super::{
    super::{
        best::{Best, Floor, Scored, rank},
        replaced::RANK_VOCABULARY,
    },
    Loaded, Product, in_parallel, required, values,
};

/// Inputs: hidden vectors f32 [batch, tokens, K], whether all logits are wanted, and two constants:
/// rows f16 [vocab, K], and count i64 [1].
///
/// Outputs: `candidate_ids` i64 and `candidate_logits` f32 [batch, tokens, count], best first;
/// `logits` f32 [batch, tokens, vocab], or [batch, tokens, 0] if they are not wanted.
pub(super) struct RankVocabulary(pub Loaded);

const HIDDEN: usize = 0;
const WANTED: usize = 1;
const ROWS: usize = 2;
const COUNT: usize = 3;

impl Operator for RankVocabulary {
    type Kernel<'attr> = Ranking;

    fn name(&self) -> &str {
        RANK_VOCABULARY
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [Float32, Bool, Float16, Int64].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [Int64, Float32, Float32].map(OperatorOutput::required)
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Ranking> {
        let product = self.0.product_of(context)?;
        let count = context.constant_input::<DynValueTypeMarker>(COUNT)?;
        let (_, count) = values::<i64>(&count)?;
        let count = count.first().map_or(0, |&count| count as usize);
        if !(1..=product.weights.packed.rows).contains(&count) {
            return Err(ort::Error::new("there are fewer tokens than are asked for"));
        }
        Ok(Ranking { product, count })
    }
}

/// For one run at a time.
pub(super) struct Ranking {
    product: Product,
    count: usize,
}

/// What a thread finds in a part of the vocabulary.
struct Part<'a> {
    /// For each vector.
    best: Vec<Best<'a>>,
    /// The scores of all tokens for each vector, if they are wanted.
    all: Vec<Vec<f32>>,
}

impl Kernel for Ranking {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let [hidden, wanted, rows] = [HIDDEN, WANTED, ROWS].map(|input| context.input(input));
        let (hidden, wanted, rows) = (required(hidden?)?, required(wanted?)?, required(rows?)?);
        let (shape, hidden) = values::<f32>(&hidden)?;
        let (_, wanted) = values::<bool>(&wanted)?;
        let (rows_shape, rows) = values::<f16>(&rows)?;
        let &[.., columns] = rows_shape else {
            return Err(ort::Error::new("the rows are no matrix"));
        };
        let columns = columns as usize;
        let vocab = self.product.weights.packed.rows;
        if columns != self.product.weights.columns || rows.len() != vocab * columns {
            return Err(ort::Error::new("the rows do not fit the weights"));
        }
        let wanted = wanted.first() == Some(&true);
        self.product.set(context, shape, hidden)?;
        let (best, all) = self.coarse(context, wanted)?;
        let exact = self.exact(context, best, hidden, (rows, columns))?;

        let outer = &shape[..shape.len() - 1];
        let output = |last: usize| [outer, &[last as i64]].concat();
        let mut ids = required(context.output(0, output(self.count))?)?;
        let mut logits = required(context.output(1, output(self.count))?)?;
        let (_, ids) = ids.try_extract_tensor_mut::<i64>()?;
        let (_, logits) = logits.try_extract_tensor_mut::<f32>()?;
        let places = ids.iter_mut().zip(logits);
        for ((id, logit), &(token, exact)) in places.zip(exact.iter().flatten()) {
            (*id, *logit) = (i64::from(token), exact);
        }
        let size = if wanted { vocab } else { 0 };
        let mut dense = required(context.output(2, output(size))?)?;
        let (_, dense) = dense.try_extract_tensor_mut::<f32>()?;
        for (vector, dense) in dense.chunks_exact_mut(size.max(1)).enumerate() {
            let mut rest = &mut *dense;
            for part in &all {
                let (place, behind) = mem::take(&mut rest).split_at_mut(part[vector].len());
                place.copy_from_slice(&part[vector]);
                rest = behind;
            }
            for &(token, exact) in &exact[vector] {
                dense[token as usize] = exact;
            }
        }
        Ok(())
    }
}

/// The scores of all tokens, by the parts of the vocabulary: [part][vector][token].
type AllScores = Vec<Vec<Vec<f32>>>;

impl Ranking {
    /// The best tokens of each vector by the coarse product, and all scores if they are wanted.
    fn coarse(
        &self,
        context: &ComputeContext,
        wanted: bool,
    ) -> ort::Result<(Vec<Vec<Scored>>, AllScores)> {
        let Product {
            kernel,
            weights,
            activations,
            ..
        } = &self.product;
        let (packed, vectors) = (&weights.packed, activations.len());
        let size = self.product.groups_of_part();
        let floors: Vec<Floor> = (0..vectors).map(|_| Floor::new()).collect();
        let none = || floors.iter().map(|floor| Best::new(self.count, floor));
        let parts: Vec<Mutex<Part<'_>>> = (0..packed.groups().div_ceil(size))
            .map(|_| Part {
                best: none().collect(),
                all: vec![Vec::new(); if wanted { vectors } else { 0 }],
            })
            .map(Mutex::new)
            .collect();
        in_parallel(context, &parts, |number, part| {
            let groups = number * size..((number + 1) * size).min(packed.groups());
            let take = |vector: usize, first: usize, scores: &[f32]| {
                part.best[vector].offer(first, scores);
                if let Some(all) = part.all.get_mut(vector) {
                    let tokens = scores.len().min(packed.rows - first);
                    all.extend_from_slice(&scores[..tokens]);
                }
            };
            kernel.products(packed, groups, activations, take);
        })?;
        let mut best: Vec<_> = none().collect();
        let mut all = Vec::new();
        for part in parts {
            let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (best, found) in best.iter_mut().zip(part.best) {
                best.merge(found);
            }
            if wanted {
                all.push(part.all);
            }
        }
        Ok((best.into_iter().map(Best::finish).collect(), all))
    }

    /// `count` tokens of each vector with their exact logits, best first. Where the scores are not
    /// finite, so are the logits.
    fn exact(
        &self,
        context: &ComputeContext,
        best: Vec<Vec<Scored>>,
        hidden: &[f32],
        (rows, columns): (&[f16], usize),
    ) -> ort::Result<Vec<Vec<Scored>>> {
        let packed = &self.product.weights.packed;
        let found: Vec<_> = best.into_iter().map(Mutex::new).collect();
        in_parallel(context, &found, |vector, tokens| {
            let hidden = &hidden[vector * columns..][..columns];
            let mut row = vec![0.0; columns];
            for (token, score) in &mut *tokens {
                rows[*token as usize * columns..][..columns].convert_to_f32_slice(&mut row);
                *score = dot(&row, hidden) + packed.bias_of(*token as usize);
            }
            tokens.sort_unstable_by(rank);
            tokens.resize(self.count, (0, f32::NAN));
        })?;
        let found = found.into_iter();
        Ok(found
            .map(|tokens| tokens.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect())
    }
}

/// Sums of every 16th product, which are computed together.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
