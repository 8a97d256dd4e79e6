//! The order in which components start: a pure function.
//!
//! Owns the sorting of `after`. Where nothing is said, the manifest's own order holds. Links do not count:
//! they may go round in a circle, and a component that calls another in its `init` says so with `after`.

/// Sorts `0..count` so that each comes after all it `waits_for`; the lowest number first where there is a choice.
///
/// # Errors
/// A circle: each waits for the next, and the last for the first.
pub(super) fn start_order(
    count: usize,
    waits_for: impl Fn(usize) -> Vec<usize>,
) -> Result<Vec<usize>, Vec<usize>> {
    let mut order = Vec::with_capacity(count);
    let mut left: Vec<(usize, Vec<usize>)> =
        (0..count).map(|item| (item, waits_for(item))).collect();
    loop {
        let Some(at) = left
            .iter()
            .position(|(_, waits)| waits.iter().all(|other| order.contains(other)))
        else {
            return if left.is_empty() {
                Ok(order)
            } else {
                Err(circle(&left))
            };
        };
        order.push(left.remove(at).0);
    }
}

/// Follows unmet waits until one comes again. Everything left waits for something left, or for itself.
fn circle(left: &[(usize, Vec<usize>)]) -> Vec<usize> {
    let waits = |item: usize| {
        let (_, waits) = left.iter().find(|(known, _)| *known == item)?;
        waits
            .iter()
            .copied()
            .find(|other| left.iter().any(|(known, _)| known == other))
    };
    let mut path: Vec<usize> = left.first().map(|(item, _)| *item).into_iter().collect();
    while let Some(next) = path.last().and_then(|last| waits(*last)) {
        if let Some(start) = path.iter().position(|item| *item == next) {
            return path.split_off(start);
        }
        path.push(next);
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(waits: &[&[usize]]) -> Result<Vec<usize>, Vec<usize>> {
        start_order(waits.len(), |item| waits[item].to_vec())
    }

    #[test]
    fn the_given_order_holds_where_nothing_waits() {
        assert_eq!(order(&[&[], &[], &[]]), Ok(vec![0, 1, 2]));
        assert_eq!(order(&[&[2], &[], &[]]), Ok(vec![1, 2, 0]));
        assert_eq!(order(&[&[1], &[2], &[]]), Ok(vec![2, 1, 0]));
        assert_eq!(order(&[]), Ok(vec![]));
    }

    #[test]
    fn a_circle_is_named_without_what_only_leads_to_it() {
        assert_eq!(order(&[&[0]]), Err(vec![0]));
        assert_eq!(order(&[&[1], &[2], &[1], &[]]), Err(vec![1, 2]));
        assert_eq!(order(&[&[1], &[2], &[0]]), Err(vec![0, 1, 2]));
    }

    proptest! {
        #[test]
        fn every_order_keeps_every_wait_and_every_circle_is_one(
            waits in proptest::collection::vec(proptest::collection::vec(0..8usize, 0..3), 8)
        ) {
            match start_order(8, |item| waits[item].clone()) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), 8);
                    let place = |item| order.iter().position(|other| *other == item).unwrap();
                    for (item, others) in waits.iter().enumerate() {
                        prop_assert!(others.iter().all(|other| place(*other) < place(item)));
                    }
                }
                Err(circle) => {
                    prop_assert!(!circle.is_empty());
                    for (at, item) in circle.iter().enumerate() {
                        prop_assert!(waits[*item].contains(&circle[(at + 1) % circle.len()]));
                    }
                }
            }
        }
    }
}
