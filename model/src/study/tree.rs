//! The log-probability that a decoder gives to every completion of every prompt, in f64.
//!
//! The tree of strings is packed into sequences that share their beginnings: for each beginning, one sequence for each way to go on by two
//! letters. So most strings pass through the decoder once, and none is drawn at random.

use super::strings::Strings;
use super::world::World;
use crate::decoder::{Decoder, Packed, SharedStart};
use engine::{Backend, Cpu, no_grad};

/// The most letters of the sequences' own ends.
const OWN_LETTERS: usize = 2;

/// Computes ln π(y|x) by prompt and completion. The tokens of the world are the decoder's whole vocabulary.
///
/// # Panics
/// If the decoder's vocabulary is not the letters and the end token.
pub fn log_probs<B: Backend>(decoder: &Decoder<B>, world: &World) -> Vec<Vec<f64>> {
    let strings = world.strings;
    assert_eq!(decoder.config().vocab_size, strings.letters + 1, "tree: the vocabulary is not that of the world");
    let decoder = decoder.to_backend(&Cpu::<f64>::new());
    (0..world.prompts.len()).map(|prompt| of_prompt(&decoder, strings, &world.context(prompt))).collect()
}

fn of_prompt(decoder: &Decoder<Cpu<f64>>, strings: Strings, context: &[u32]) -> Vec<f64> {
    let deepest = strings.longest - 1;
    let own = deepest.min(OWN_LETTERS);
    let start = deepest - own;
    let (starts, ends) = (strings.of_length(start), strings.of_length(own));
    let sequence = |start_string: usize, end: &[u32]| [context, &strings.letters_of(start, start_string), end].concat();
    let mut sequences = Vec::new();
    for string in 0..starts {
        let of = sequences.len();
        sequences.push((sequence(string, &[]), None));
        let shared = SharedStart { of, tokens: context.len() + start };
        let ends = (0..ends).filter(|_| own > 0).map(|end| (sequence(string, &strings.letters_of(own, end)), Some(shared)));
        sequences.extend(ends);
    }
    let parts: Vec<(&[u32], Option<SharedStart>)> = sequences.iter().map(|(tokens, shared)| (tokens.as_slice(), *shared)).collect();
    let width = strings.letters + 1;
    let rows = no_grad(|| decoder.logits(&Packed::sharing(&parts)).log_softmax()).to_f64();
    let rows_of_start = context.len() + start + if own > 0 { ends * own } else { 0 };
    strings.log_probs(|depth, string| {
        let row = if depth <= start {
            // The first start that begins with the string.
            let first = string * strings.of_length(start - depth);
            first * rows_of_start + context.len() - 1 + depth
        } else {
            // The first end that begins with the string's last letters.
            let of_end = depth - start;
            let first = string % strings.of_length(of_end) * strings.of_length(own - of_end);
            (string / strings.of_length(of_end)) * rows_of_start + context.len() + start + first * own + of_end - 1
        };
        rows[row * width..][..width].to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::boundary::Sequence;
    use crate::config::Config;
    use crate::decoder::ForwardOptions;
    use crate::study::prepared::config;

    fn decoder(strings: Strings) -> Decoder<Cpu<f64>> {
        let random = Decoder::random(&Cpu::<f64>::new(), &Config { ..config(strings) }, 5).unwrap();
        // Weights of deviation 0.02 give a distribution that is nearly uniform.
        let scaled = |name: &str, shape: &[usize]| {
            let all = random.parameters();
            let parameter = all.iter().find(|parameter| parameter.name == name).unwrap();
            Ok(engine::Tensor::parameter(random.backend(), &parameter.tensor.scale(20.0).to_f64(), shape))
        };
        Decoder::build(random.config(), &mut { scaled }).unwrap()
    }

    #[test]
    fn enumeration_is_the_decoder_on_each_string_alone() {
        for (letters, longest) in [(3, 1), (3, 2), (2, 3), (3, 4), (2, 6)] {
            let strings = Strings { letters, longest };
            let (world, decoder) = (World::new(strings, 2, 3), decoder(strings));
            let all = log_probs(&decoder, &world);
            for (prompt, log_probs) in all.iter().enumerate() {
                assert!((log_probs.iter().map(|log_prob| log_prob.exp()).sum::<f64>() - 1.0).abs() < 1e-12, "{strings:?}");
                let whole = |completion| Sequence::new([world.context(prompt), strings.tokens(completion)].concat(), 3);
                let sequences: Vec<Sequence> = (0..strings.count()).map(whole).collect();
                let alone = Batch::of_sequences(&sequences).sequence_log_probs(&decoder, &ForwardOptions::default()).to_f64();
                for (completion, (tree, alone)) in log_probs.iter().zip(alone).enumerate() {
                    assert!((tree - alone).abs() < 1e-12 * alone.abs().max(1.0), "{strings:?}, {completion}: {tree} and {alone}");
                }
                let spread = log_probs.iter().copied().fold(f64::NEG_INFINITY, f64::max) - log_probs.iter().copied().fold(0.0, f64::min);
                assert!(spread > 0.5, "the decoder is too flat to tell strings apart");
            }
        }
    }
}
