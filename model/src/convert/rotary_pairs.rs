//! The two ways to pair a head's components for RoPE, and the conversions between them.

/// Reorders the rows of each head from pairs (2i, 2i + 1) to pairs (i, i + half): new row i is old row 2i, new row half + i is old row
/// 2i + 1. Meta's code, llama2.c and llama.cpp rotate the first kind of pairs, Hugging Face's the second. `columns` is the width of a row,
/// 1 for a bias.
///
/// # Panics
/// If the rows do not make `heads` heads of the same even height.
pub fn rotate_half_rows<T: Copy>(rows: &[T], heads: usize, columns: usize) -> Vec<T> {
    reordered(rows, heads, columns, |row, half| if row < half { 2 * row } else { 2 * (row - half) + 1 })
}

/// Undoes [`rotate_half_rows`]: old row 2i is new row i, old row 2i + 1 is new row half + i.
///
/// # Panics
/// As [`rotate_half_rows`].
pub fn neighbour_rows(rows: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    reordered(rows, heads, columns, |row, half| if row % 2 == 0 { row / 2 } else { half + row / 2 })
}

/// Takes each row of a head from `old(its new place, half the rows)`.
fn reordered<T: Copy>(rows: &[T], heads: usize, columns: usize, old: impl Fn(usize, usize) -> usize) -> Vec<T> {
    let head_dim = rows.len() / (heads * columns);
    let half = head_dim / 2;
    assert_eq!(2 * half * heads * columns, rows.len(), "RoPE's rows: {} elements in {heads} heads of {columns} columns", rows.len());
    let mut reordered = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_dim * columns) {
        (0..head_dim).for_each(|row| reordered.extend_from_slice(&head[old(row, half) * columns..][..columns]));
    }
    reordered
}
