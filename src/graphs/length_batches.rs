//! Batches of sequences of similar length.

/// A batch takes sequences down to this percentage of its longest one: padding costs more than
/// another run.
const SHORTEST_PERCENT: usize = 75;

/// Indices of sequences of these lengths, longest first, in batches with little padding.
///
/// A batch has at most `max_tokens` tokens, padding included, but at least one sequence.
pub(crate) fn length_batches(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in order {
        if let Some(batch) = batches.last_mut() {
            let longest = lengths[batch[0]];
            let close = lengths[index] * 100 >= longest * SHORTEST_PERCENT;
            if close && (batch.len() + 1) * longest <= max_tokens {
                batch.push(index);
                continue;
            }
        }
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
        let batches = length_batches(&lengths, 4096);
        let mut all: Vec<usize> = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = lengths[batch[0]];
            let similar = |&index: &usize| lengths[index] * 100 >= longest * SHORTEST_PERCENT;
            assert!(batch.iter().all(similar), "{batch:?}");
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let batches = length_batches(&[64; 1000], 4096);
        assert!(batches.iter().all(|batch| batch.len() * 64 <= 4096));
    }
}
