//! Shapes: broadcasting rules and the messages for shapes that do not fit.

/// The shape that `a` and `b` broadcast to: aligned at the last axis, equal extents or an extent of 1.
/// `None` where they do not fit.
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| if axis + shape.len() < rank { 1 } else { shape[axis + shape.len() - rank] };
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// The shape that `a` and `b` broadcast to.
///
/// # Panics
/// In the name of `op` where they do not fit.
#[track_caller]
pub fn broadcast_or_panic(op: &str, a: &[usize], b: &[usize]) -> Vec<usize> {
    broadcast(a, b).unwrap_or_else(|| panic!("{op}: {a:?} and {b:?} do not broadcast"))
}

/// The shape that all of `shapes` broadcast to.
///
/// # Panics
/// In the name of `op` where they do not fit.
#[track_caller]
pub fn broadcast_all(op: &str, shapes: &[&[usize]]) -> Vec<usize> {
    let fits = shapes.iter().try_fold(Vec::new(), |shape, next| broadcast(&shape, next));
    fits.unwrap_or_else(|| panic!("{op}: {shapes:?} do not broadcast"))
}

/// The number of elements of a shape.
pub fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The shape with the extent of one axis replaced.
pub fn with_axis(shape: &[usize], axis: usize, extent: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = extent;
    shape
}

/// Panics in the name of `op` unless `axis` is an axis of `shape`.
#[track_caller]
pub fn check_axis(op: &str, shape: &[usize], axis: usize) {
    assert!(axis < shape.len(), "{op}: axis {axis} of {shape:?}, which has {} axes", shape.len());
}

/// (product of the axes before `axis`, extent of `axis`, product of the axes after it).
pub fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (count(&shape[..axis]), shape[axis], count(&shape[axis + 1..]))
}

/// Splits off the last axis: (product of the others, its extent). A scalar counts as one row of one.
pub fn rows(shape: &[usize]) -> (usize, usize) {
    match shape.split_last() {
        Some((&last, others)) => (count(others), last),
        None => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "f: [[2, 3], [3], [2]] do not broadcast")]
    fn several_shapes_broadcast_to_one() {
        assert_eq!(broadcast_all("f", &[&[2, 1], &[3], &[4, 1, 1]]), [4, 2, 3]);
        assert_eq!(broadcast_all("f", &[&[5]]), [5]);
        broadcast_all("f", &[&[2, 3], &[3], &[2]]);
    }

    #[test]
    fn shapes_align_at_the_last_axis() {
        assert_eq!(broadcast(&[2, 3], &[3]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[2, 1, 4], &[3, 1]), Some(vec![2, 3, 4]));
        assert_eq!(broadcast(&[], &[5]), Some(vec![5]));
        assert_eq!(broadcast(&[0, 2], &[1, 2]), Some(vec![0, 2]));
        assert_eq!(broadcast(&[2, 3], &[2]), None);
    }
}
