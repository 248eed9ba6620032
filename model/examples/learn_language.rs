//! A decoder learns a small language from sentences that are drawn from it. The least loss that any model can have is known: the
//! language's entropy.
//!
//! It prints:
//! ```text
//! for example: the cat chases the bird .
//! the least loss is the entropy, 9.915 nats a sentence; 24 words at random would be ln 24 = 3.178 a word
//! step 100: 10.… nats a sentence
//! step 200: 10.… nats a sentence
//! step 300: 10.… nats a sentence
//! the small fox …
//! the small fox …
//! the small fox …
//! the small fox …
//! ```

use engine::{Cpu, Generator};
use model::decoder::Decoder;
use model::language::Language;
use model::study::learned_language::{complete, config, learn};

fn main() -> Result<(), model::Error> {
    let language = Language::new();
    println!("for example: {}", language.decode(&language.sample_sentence(&mut || 0.3)));
    println!("the least loss is the entropy, {:.3} nats a sentence; 24 words at random would be ln 24 = 3.178 a word", language.entropy());

    let decoder = Decoder::random(&Cpu::<f32>::new(), &config(&language), 1)?;
    let mut losses = Vec::new();
    let decoder = learn(&language, decoder, (300, 32), &mut Generator::new(1), |step, outcome, _| {
        losses.push(outcome.loss);
        if step % 100 == 0 {
            println!("step {step}: {:.2} nats a sentence", losses[losses.len() - 20..].iter().sum::<f64>() / 20.0);
        }
    })?;

    let prompt = language.encode("the small fox").expect("three words of the language");
    for completion in complete(&language, &decoder, &vec![prompt.clone(); 4], &Generator::new(2))? {
        let sentence = if language.is_grammatical(&prompt, &completion) { "a sentence" } else { "not a sentence" };
        println!("the small fox {}    ({sentence})", language.decode(&completion));
    }
    Ok(())
}
