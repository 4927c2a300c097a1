//! Sums of exponentials, several computed together.

/// The sum of `exp((logit - most) / temperature)`, where no logit is above `most`.
pub(crate) fn sum_of_weights(logits: &[f32], most: f32, temperature: f32) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let mut weights = [0.0; 16 * LANES];
    for logits in logits.chunks(weights.len()) {
        // A loop of its own, which the compiler computes several numbers of at a time.
        for (weight, logit) in weights.iter_mut().zip(logits) {
            *weight = exp((logit - most) / temperature);
        }
        for weights in weights[..logits.len()].chunks(LANES) {
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum += f64::from(weight);
            }
        }
    }
    sums.iter().sum()
}

/// e to the power of `x`, which is not above 0; 0 below -87. Without a call or a branch, so that the
/// compiler computes several together. The error is at most 2e-7 of the result.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Added to a number, it rounds that to an integer, which is in the lowest bits of the sum.
    const ROUNDS: f32 = 12_582_912.0;
    // The logarithm of 2 in two parts, the former of few bits.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    let sum = x.max(-87.0) * std::f32::consts::LOG2_E + ROUNDS;
    let exponent = sum.to_bits().wrapping_sub(ROUNDS.to_bits());
    let whole = sum - ROUNDS;
    let rest = x.max(-87.0) - whole * LN_2[0] - whole * LN_2[1];
    let factorials = [5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0];
    let terms = factorials.map(|factorial| 1.0 / factorial);
    let power = terms.iter().fold(0.0, |sum, term| sum * rest + term);
    let scale = f32::from_bits(exponent.wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { power * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_close() {
        for step in 0..50_000 {
            let x = -(step as f32) / 500.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            let error = if x < -87.0 {
                found
            } else {
                (found / expected - 1.0).abs()
            };
            assert!(error < 2e-7, "{x}: {found} for {expected}");
        }
        assert_eq!(
            [exp(f32::NEG_INFINITY), exp(-1e30), exp(0.0)],
            [0.0, 0.0, 1.0]
        );
    }
}
