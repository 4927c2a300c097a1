//! The attention mask of graphs that concatenate their caches.

/// Which positions each of `new` ones may see, `[rows, new, longest + new]`, where each row has
/// as many cached positions as `cached` says. A row ends where the longest one does.
pub(super) fn attention_mask(cached: &[usize], new: usize, bidirectional: bool) -> Vec<bool> {
    let longest = cached.iter().copied().max().unwrap_or(0);
    let mut mask = Vec::with_capacity(cached.len() * new * (longest + new));
    for length in cached {
        for row in 0..new {
            let sees = |column: usize| {
                column >= longest - length && (bidirectional || column <= longest + row)
            };
            mask.extend((0..longest + new).map(sees));
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        let text = |cached: &[usize], new, bidirectional| {
            let width = cached.iter().max().unwrap() + new;
            let mask = attention_mask(cached, new, bidirectional);
            let digit = |&sees: &bool| if sees { '1' } else { '0' };
            let rows = mask
                .chunks(width)
                .map(|row| row.iter().map(digit).collect());
            rows.collect::<Vec<String>>()
        };
        assert_eq!(text(&[0], 3, false), ["100", "110", "111"]);
        assert_eq!(text(&[0], 3, true), ["111", "111", "111"]);
        assert_eq!(text(&[2], 2, false), ["1110", "1111"]);
        assert_eq!(text(&[3], 1, false), ["1111"]);
        assert_eq!(text(&[1, 3], 1, false), ["0011", "1111"]);
    }
}
