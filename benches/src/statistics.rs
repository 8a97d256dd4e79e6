//! Medians, and how sure they are.
//!
//! Nothing here assumes a distribution: latencies have none that is worth assuming.

/// The median; of an even number of values, the mean of the two in the middle. 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let half = sorted.len() / 2;
    match (
        sorted.get(half),
        half.checked_sub(1).and_then(|below| sorted.get(below)),
    ) {
        (Some(above), Some(below)) if sorted.len().is_multiple_of(2) => {
            f64::midpoint(*above, *below)
        }
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

/// Between which two of the values the median of what they were drawn from is, with at least 95 % confidence.
/// `None` of fewer than six values: not even their extremes are as sure as that.
pub(crate) fn interval95(values: &[f64]) -> Option<(f64, f64)> {
    let from = first_rank(values.len())?;
    let sorted = sorted(values);
    let low = sorted.get(from)?;
    let high = sorted.get(sorted.len().checked_sub(from + 1)?)?;
    Some((*low, *high))
}

/// The largest `k` so that the values at `k` and `n - 1 - k` hold the median between them with 95 % confidence:
/// the number of values below the median is binomial, whatever they are.
fn first_rank(n: usize) -> Option<usize> {
    let exponent = i32::try_from(n).ok()?;
    // Of very many values the terms vanish below what an f64 holds; a report has dozens.
    let mut term = 0.5_f64.powi(exponent);
    let mut below = 0.0;
    let mut found = None;
    for k in 0..n {
        below += term;
        if below > 0.025 {
            break;
        }
        found = Some(k);
        #[expect(clippy::cast_precision_loss, reason = "dozens")]
        let next = (n - k) as f64 / (k + 1) as f64;
        term *= next;
    }
    found
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// `value` with so many decimals.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // Ranks of the 95 % interval of a median, counted from 1, as statistics books list them.
        for (n, low) in [(6, 1), (8, 1), (9, 2), (15, 4), (20, 6), (31, 10), (50, 18)] {
            assert_eq!(first_rank(n), Some(low - 1), "{n}");
        }
        assert_eq!(first_rank(5), None);
        assert_eq!(first_rank(0), None);
        let values: Vec<f64> = (1..=15).rev().map(f64::from).collect();
        assert_eq!(interval95(&values), Some((4.0, 12.0)));
        assert_eq!(interval95(&values[..5]), None);
    }
}
