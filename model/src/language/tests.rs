//! The closed forms against brute force, and the language's promises.

use super::preference::Labelling;
use super::*;
use std::collections::BTreeMap;

const TOLERANCE: f64 = 1e-12;

/// Makes a uniform source in [0, 1) for the tests (SplitMix64).
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[track_caller]
fn assert_close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() <= TOLERANCE * expected.abs().max(1.0), "{actual} is not {expected}");
}

/// Σ_y P(y | prompt)·f(y) over all completions.
fn mean(completions: &[Completion], f: impl Fn(&Completion) -> f64) -> f64 {
    completions.iter().map(|completion| completion.log_prob.exp() * f(completion)).sum()
}

#[test]
fn the_vocabulary_reads_back() {
    let language = Language::new();
    assert_eq!(language.words().len(), 24);
    assert_eq!(language.words()[language.end() as usize], ".");
    let text = "the small fox greets a kind bird .";
    assert_eq!(language.decode(&language.encode(text).unwrap()), text);
    let error = language.encode("the small wolf .").unwrap_err();
    assert_eq!(error.to_string(), "the small language has no word \"wolf\" (word 3 of the text, counting from 1)");
    assert_eq!(language.decode(&[0, 99]), "the <99>");
}

#[test]
fn prompts_are_exhaustive_and_their_probabilities_sum_to_one() {
    let prompts = Language::new().prompts();
    assert_eq!(prompts.len(), 32);
    assert_close(prompts.iter().map(|prompt| prompt.log_prob.exp()).sum(), 1.0);
}

#[test]
fn each_completion_is_a_sentence_of_three_to_eight_tokens_and_together_they_are_everything() {
    let language = Language::new();
    for prompt in language.prompts() {
        let completions = language.completions(&prompt.tokens);
        assert_eq!(completions.len(), 3846);
        assert_close(mean(&completions, |_| 1.0), 1.0);
        for completion in &completions {
            assert!((3..=8).contains(&completion.tokens.len()));
            assert_eq!(completion.tokens.iter().position(|&token| token == language.end()), Some(completion.tokens.len() - 1));
            assert_close(language.log_prob_completion(&prompt.tokens, &completion.tokens), completion.log_prob);
            assert_eq!(language.reward(&prompt.tokens, &completion.tokens), completion.reward);
            let sentence = [prompt.tokens.clone(), completion.tokens.clone()].concat();
            assert_close(language.log_prob(&sentence), prompt.log_prob + completion.log_prob);
            assert_eq!(language.split(&sentence), Some((&prompt.tokens[..], &completion.tokens[..])));
        }
    }
}

#[test]
fn the_recursions_equal_brute_force_for_each_prompt() {
    let language = Language::new();
    for prompt in language.prompts() {
        let completions = language.completions(&prompt.tokens);
        assert_close(language.completion_entropy(&prompt.tokens), mean(&completions, |c| -c.log_prob));
        assert_close(language.expected_reward_of(&prompt.tokens), mean(&completions, |c| c.reward));
        let best = completions.iter().map(|c| c.reward).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(language.best_reward(&prompt.tokens), best);
        for beta in [0.05, 0.3, 1.0, 10.0] {
            let log_z = mean(&completions, |c| (c.reward / beta).exp()).ln();
            assert_close(language.log_partition(&prompt.tokens, beta), log_z);
            let aligned = language.aligned(beta);
            for (of_aligned, of_base) in aligned.completions(&prompt.tokens).iter().zip(&completions) {
                assert_close(of_aligned.log_prob, of_base.log_prob + of_base.reward / beta - log_z);
            }
            let weight = |c: &Completion| (c.reward / beta - log_z).exp();
            assert_close(aligned.expected_reward_of(&prompt.tokens), mean(&completions, |c| weight(c) * c.reward));
            let kl = mean(&completions, |c| weight(c) * (c.reward / beta - log_z));
            assert_close(aligned.kl_from_given(&language, &prompt.tokens), kl);
        }
    }
}

#[test]
fn whole_sentences_are_the_mean_over_prompts() {
    let language = Language::new();
    let over_prompts =
        |f: &dyn Fn(&Prompt) -> f64| -> f64 { language.prompts().iter().map(|prompt| prompt.log_prob.exp() * f(prompt)).sum() };
    assert_close(language.entropy(), over_prompts(&|p| language.completion_entropy(&p.tokens) - p.log_prob));
    assert_close(language.expected_reward(), over_prompts(&|p| language.expected_reward_of(&p.tokens)));
    let length = |p: &Prompt| mean(&language.completions(&p.tokens), |c| (p.tokens.len() + c.tokens.len()) as f64);
    assert_close(language.expected_length(), over_prompts(&length));
    let aligned = language.aligned(0.3);
    assert_close(aligned.kl_from(&language), over_prompts(&|p| aligned.kl_from_given(&language, &p.tokens)));
    assert_eq!(aligned.prompts(), language.prompts(), "alignment leaves the prompts alone");
}

#[test]
fn the_aligned_language_is_the_optimum_of_the_regularised_objective() {
    let language = Language::new();
    let beta = 0.4;
    let objective = |other: &Language| other.expected_reward() - beta * other.kl_from(&language);
    let optimum = objective(&language.aligned(beta));
    let bound: f64 = language.prompts().iter().map(|p| p.log_prob.exp() * beta * language.log_partition(&p.tokens, beta)).sum();
    assert_close(optimum, bound);
    for other in [0.1, 0.2, 0.39, 0.41, 1.0, 100.0] {
        assert!(objective(&language.aligned(other)) < optimum, "beta {other}");
    }
    assert!(objective(&language) < optimum);
}

#[test]
fn the_reward_is_defined_on_every_string_and_grammar_always_pays() {
    let language = Language::new();
    let prompt = language.encode("the fox").unwrap();
    let reward = |text: &str| language.reward(&prompt, &language.encode(text).unwrap());
    assert_eq!(reward("greets a kind bird ."), 1.5);
    assert_eq!(reward("greets a kind bird"), 1.5 + UNGRAMMATICAL_PENALTY, "no end token");
    assert_eq!(reward("greets greets a kind bird ."), 1.0 + UNGRAMMATICAL_PENALTY, "an impossible word");
    assert_eq!(reward("greets a kind bird . ."), 1.5 + UNGRAMMATICAL_PENALTY, "tokens after the end");
    assert_eq!(reward(""), UNGRAMMATICAL_PENALTY);
    assert_eq!(language.reward(&prompt, &[500]), UNGRAMMATICAL_PENALTY, "a token outside the vocabulary");
    for prompt in language.prompts() {
        let worst = language.completions(&prompt.tokens).iter().map(|c| c.reward).fold(f64::INFINITY, f64::min);
        assert!(language.best_reward(&prompt.tokens) + UNGRAMMATICAL_PENALTY < worst);
    }
}

#[test]
fn next_token_probabilities_chain_to_the_sentence() {
    let language = Language::new();
    let sentence = language.encode("a cat rests today but helps the shy child .").unwrap();
    let chained: f64 =
        (0..sentence.len()).map(|index| language.next_log_probs(&sentence[..index]).unwrap()[sentence[index] as usize]).sum();
    assert_close(chained, language.log_prob(&sentence));
    assert_eq!(language.next_log_probs(&sentence), None, "nothing follows the end");
    assert_eq!(language.next_log_probs(&[23]), None, "no sentence begins with the end token");
    assert_eq!(language.log_prob(&sentence[..5]), f64::NEG_INFINITY);
    assert!(language.is_grammatical(&sentence[..2], &sentence[2..]));
    assert!(!language.is_grammatical(&sentence[..2], &sentence[2..5]));
}

#[test]
fn sampled_frequencies_agree_with_the_closed_forms() {
    let language = Language::new();
    let mut random = uniform(7);
    let draws = 40_000;
    let (mut surprise, mut reward) = (0.0, 0.0);
    for _ in 0..draws {
        let sentence = language.sample_sentence(&mut random);
        let (prompt, completion) = language.split(&sentence).unwrap();
        surprise -= language.log_prob(&sentence) / f64::from(draws);
        reward += language.reward(prompt, completion) / f64::from(draws);
    }
    assert!((surprise - language.entropy()).abs() < 0.05, "{surprise} against {}", language.entropy());
    assert!((reward - language.expected_reward()).abs() < 0.03, "{reward} against {}", language.expected_reward());
}

#[test]
fn pairs_follow_their_labelling() {
    let language = Language::new();
    let prompt = language.encode("the shy child").unwrap();
    let mut random = uniform(11);
    for _ in 0..500 {
        let pair = language.sample_pair(&prompt, Labelling::HigherReward, &mut random);
        assert!(language.reward(&prompt, &pair.chosen) > language.reward(&prompt, &pair.rejected));
    }
    let draws = 20_000;
    let noisy = Labelling::BradleyTerry { temperature: 0.5 };
    let wins = (0..draws).filter(|_| noisy.first_wins(1.0, 0.5, &mut random) == Some(true)).count();
    let expected = 1.0 / (1.0 + f64::exp(-1.0));
    assert!((wins as f64 / f64::from(draws) - expected).abs() < 0.015);
    assert_eq!(Labelling::HigherReward.first_wins(1.0, 1.0, &mut random), None);
    for _ in 0..500 {
        let pair = language.sample_pair(&prompt, noisy, &mut random);
        assert_ne!(pair.chosen, pair.rejected);
    }
}

#[test]
fn the_reward_leaves_room_and_has_many_ties() {
    let language = Language::new();
    for prompt in language.prompts() {
        let completions = language.completions(&prompt.tokens);
        let (base, best) = (language.expected_reward_of(&prompt.tokens), language.best_reward(&prompt.tokens));
        assert!(best - base > 1.5, "{}: {base} of {best}", language.decode(&prompt.tokens));
        let aligned = language.aligned(0.5).expected_reward_of(&prompt.tokens);
        assert!(aligned - base > 0.5 && best - aligned > 0.4, "{base} → {aligned} of {best}");
        let mut twins: BTreeMap<i64, usize> = BTreeMap::new();
        for completion in &completions {
            *twins.entry((completion.reward * 4.0) as i64).or_default() += 1;
        }
        assert!(twins.len() > 12, "{} different rewards", twins.len());
        let alone = twins.values().filter(|&&count| count == 1).count();
        assert!(alone <= 2, "all but `sings today .` and `rests today .` have twins: {twins:?}");
        let last = *twins.values().last().unwrap();
        assert!(last >= 64, "the best reward is shared by {last}");
    }
}

#[test]
#[should_panic(expected = "\"the fox greets\" is not a prompt of the small language")]
fn a_prompt_that_is_none_says_so() {
    let language = Language::new();
    let tokens = language.encode("the fox greets").unwrap();
    let _ = language.expected_reward_of(&tokens);
}
