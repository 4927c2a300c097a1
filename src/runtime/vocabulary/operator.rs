//! The custom operator of ONNX Runtime that runs a kernel.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use half::{f16, slice::HalfFloatSliceExt as _};
use ort::{
    operator::{
        ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput,
        OperatorOutput,
    },
    value::{
        DynValue, DynValueTypeMarker, PrimitiveTensorElementType,
        TensorElementType::{Bool, Float16, Float32, Int64, Uint8},
    },
};

use super::{
    VocabularyKernel,
    activations::Activations,
    best::{Best, Scored, rank},
    packed::Packed,
    pattern::BLOCK,
};

pub(super) const DOMAIN: &str = "sllm_ort";
pub(super) const NAME: &str = "RankVocabulary";
/// Parts of the vocabulary that threads take one after the other.
const PARTS: usize = 8;

/// The operator's domain with a kernel, for a session.
pub(crate) fn domain(kernel: VocabularyKernel) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?.add(RankVocabulary(kernel))
}

/// Inputs: hidden vectors f32 [batch, tokens, K], whether all logits are wanted, codes, scales, rows
/// f16 [vocab, K], count i64 [1], and perhaps bias f32 [vocab]. All but the first two are constants.
///
/// Outputs: `candidate_ids` i64 and `candidate_logits` f32 [batch, tokens, count], best first;
/// `logits` f32 [batch, tokens, vocab], or [batch, tokens, 0] if they are not wanted.
struct RankVocabulary(VocabularyKernel);

const HIDDEN: usize = 0;
const WANTED: usize = 1;
const CODES: usize = 2;
const SCALES: usize = 3;
const ROWS: usize = 4;
const COUNT: usize = 5;
const BIAS: usize = 6;

impl Operator for RankVocabulary {
    type Kernel<'attr> = Ranking;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = [Float32, Bool, Uint8, Float32, Float16, Int64].map(OperatorInput::required);
        required
            .into_iter()
            .chain([OperatorInput::optional(Float32)])
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [Int64, Float32, Float32].map(OperatorOutput::required)
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Ranking> {
        let codes = context.constant_input::<DynValueTypeMarker>(CODES)?;
        let scales = context.constant_input::<DynValueTypeMarker>(SCALES)?;
        let count = context.constant_input::<DynValueTypeMarker>(COUNT)?;
        let bias = match context.inputs()?.len() > BIAS {
            true => Some(context.constant_input::<DynValueTypeMarker>(BIAS)?),
            false => None,
        };
        let rows = context.constant_input::<DynValueTypeMarker>(ROWS)?;
        let (shape, _) = values::<f16>(&rows)?;
        let vocab = shape.first().map_or(0, |&size| size as usize);
        let (_, scales) = values::<f32>(&scales)?;
        let bias = bias.as_ref().map(|bias| values::<f32>(bias)).transpose()?;
        let packed = Packed::new(
            values::<u8>(&codes)?.1,
            scales,
            bias.map(|(_, values)| values),
            vocab,
            self.0.lanes(),
        );
        let (_, count) = values::<i64>(&count)?;
        let count = count.first().map_or(0, |&count| count as usize);
        let packed = packed.filter(|_| (1..=vocab).contains(&count));
        Ok(Ranking {
            kernel: self.0,
            packed: packed.ok_or_else(|| ort::Error::new("the weights do not fit each other"))?,
            count,
            activations: Activations::default(),
        })
    }
}

/// A kernel and its weights, for one run at a time.
struct Ranking {
    kernel: VocabularyKernel,
    packed: Packed,
    count: usize,
    activations: Activations,
}

/// What a thread finds in a part of the vocabulary.
struct Part {
    /// For each vector.
    best: Vec<Best>,
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
        let fits = shape.last() == rows_shape.last()
            && columns.div_ceil(BLOCK) == self.packed.blocks
            && rows.len() == self.packed.vocab * columns;
        if !fits {
            return Err(ort::Error::new("the weights do not fit the hidden vectors"));
        }
        let wanted = wanted.first() == Some(&true);
        self.activations.set(hidden, columns);
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
        let size = if wanted { self.packed.vocab } else { 0 };
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
    /// The best tokens of each vector by the weights of 4 bits, and all scores if they are wanted.
    fn coarse(
        &self,
        context: &ComputeContext,
        wanted: bool,
    ) -> ort::Result<(Vec<Best>, AllScores)> {
        let vectors = self.activations.len();
        let (groups, vocab) = (self.packed.groups(), self.packed.vocab);
        let size = groups.div_ceil(PARTS);
        let parts: Vec<Mutex<Part>> = (0..groups.div_ceil(size))
            .map(|_| Part {
                best: vec![Best::new(self.count); vectors],
                all: vec![Vec::new(); if wanted { vectors } else { 0 }],
            })
            .map(Mutex::new)
            .collect();
        in_parallel(context, &parts, |number, part| {
            let groups = number * size..((number + 1) * size).min(groups);
            let take = |vector: usize, first: usize, scores: &[f32]| {
                part.best[vector].offer(first, scores);
                if let Some(all) = part.all.get_mut(vector) {
                    let tokens = scores.len().min(vocab - first);
                    all.extend_from_slice(&scores[..tokens]);
                }
            };
            self.kernel
                .scores(&self.packed, groups, &self.activations, take);
        })?;
        let mut best = vec![Best::new(self.count); vectors];
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
        Ok((best, all))
    }

    /// `count` tokens of each vector with their exact logits, best first. Where the scores are not
    /// finite, so are the logits.
    fn exact(
        &self,
        context: &ComputeContext,
        best: Vec<Best>,
        hidden: &[f32],
        (rows, columns): (&[f16], usize),
    ) -> ort::Result<Vec<Vec<Scored>>> {
        let found: Vec<_> = best
            .into_iter()
            .map(|best| Mutex::new(best.finish()))
            .collect();
        in_parallel(context, &found, |vector, tokens| {
            let hidden = &hidden[vector * columns..][..columns];
            let mut row = vec![0.0; columns];
            for (token, score) in &mut *tokens {
                rows[*token as usize * columns..][..columns].convert_to_f32_slice(&mut row);
                *score = dot(&row, hidden) + self.packed.bias_of(*token as usize);
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

/// Do something with each of `items` on the threads of the session.
fn in_parallel<T: Send>(
    context: &ComputeContext,
    items: &[Mutex<T>],
    work: impl Fn(usize, &mut T) + Send + Sync,
) -> ort::Result<()> {
    let locked = |number: usize| {
        // Each number comes once: nothing waits here.
        let mut item = items[number].lock().unwrap_or_else(PoisonError::into_inner);
        work(number, &mut item);
    };
    match items.len() {
        0 => (),
        1 => locked(0),
        count => context.par_for(count, count, locked)?,
    }
    Ok(())
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

fn required<T>(value: Option<T>) -> ort::Result<T> {
    value.ok_or_else(|| ort::Error::new("an input or output is missing"))
}

fn values<T: PrimitiveTensorElementType>(value: &DynValue) -> ort::Result<(&[i64], &[T])> {
    let (shape, values) = value.try_extract_tensor::<T>()?;
    Ok((shape, values))
}
