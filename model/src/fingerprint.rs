//! Fingerprints of data, by which a run or a cache recognises its own data.

use crate::boundary::Sequence;

/// Computes a fingerprint of data: FNV-1a over its words, with a rotation after each word, and their number.
pub fn fingerprint(words: impl IntoIterator<Item = u32>) -> String {
    let step = |(hash, count): (u64, u64), word: u32| ((hash ^ u64::from(word)).wrapping_mul(0x100_0000_01b3).rotate_left(29), count + 1);
    let (hash, count) = words.into_iter().fold((0xcbf2_9ce4_8422_2325, 0), step);
    format!("{hash:016x}-{count}")
}

/// Returns a sequence as words for a fingerprint: its length, the start of its completion, its tokens, and its ranges of context.
pub fn sequence_words(sequence: &Sequence) -> impl Iterator<Item = u32> {
    let start = [sequence.tokens.len() as u32, sequence.completion_start as u32];
    let context = sequence.context.iter().flat_map(|range| [range.start as u32, range.end as u32]);
    start.into_iter().chain(sequence.tokens.iter().copied()).chain(context)
}
