//! Batches of sequences of similar length.

use crate::runtime::Graph;

/// Padding that costs as much time as another run on the processor, in tokens.
const RUN_COST: usize = 4;
/// The same on a device, where a run costs more and a token less. An estimate, not measured.
const DEVICE_RUN_COST: usize = 1024;

/// The padding that costs as much time as another run of `graph`, in tokens.
pub(crate) fn run_cost(graph: &Graph) -> usize {
    match graph.on_device() {
        false => RUN_COST,
        true => DEVICE_RUN_COST,
    }
}

/// Indices of sequences of these lengths, longest first, in batches with little padding.
///
/// A batch has at most `max_padding` tokens of padding, and at most `max_tokens` tokens with it, but
/// at least one sequence.
pub(crate) fn length_batches(
    lengths: &[usize],
    max_padding: usize,
    max_tokens: usize,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut padding = 0;
    for index in order {
        if let Some(batch) = batches.last_mut() {
            let longest = lengths[batch[0]];
            padding += longest - lengths[index];
            if padding <= max_padding && (batch.len() + 1) * longest <= max_tokens {
                batch.push(index);
                continue;
            }
        }
        padding = 0;
        batches.push(vec![index]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_is_in_one_batch_of_similar_ones() {
        let lengths = [3usize, 40, 4, 4, 64, 1, 39, 3, 1, 50];
        let batches = length_batches(&lengths, 8, 4096);
        let mut all: Vec<usize> = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = lengths[batch[0]];
            let padding: usize = batch.iter().map(|&index| longest - lengths[index]).sum();
            assert!(padding <= 8, "{batch:?}");
        }
        assert!(batches.contains(&vec![2, 3, 0, 7, 5, 8]), "{batches:?}");
    }

    #[test]
    fn a_batch_is_bounded() {
        let batches = length_batches(&[64; 1000], 8, 4096);
        assert!(batches.iter().all(|batch| batch.len() * 64 <= 4096));
    }
}
