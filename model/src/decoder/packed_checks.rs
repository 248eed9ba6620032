//! Checks that a decoder can run a user's input.

use crate::config::{Config, PositionKind};
use crate::error::{Error, Result};

/// Checks that every token is in the vocabulary.
///
/// # Errors
/// [`Error::TokenOutOfRange`] naming the first that is not.
pub fn check_tokens(tokens: &[u32], config: &Config) -> Result<()> {
    match tokens.iter().find(|&&token| token as usize >= config.vocab_size) {
        Some(&token) => Err(Error::TokenOutOfRange { token, vocab_size: config.vocab_size }),
        None => Ok(()),
    }
}

/// Checks that a sequence of `length` tokens has a position for each.
///
/// # Errors
/// [`Error::BadConfig`] if the model has learned fewer positions.
pub fn check_length(length: usize, config: &Config) -> Result<()> {
    if config.position == PositionKind::Learned && length > config.max_positions {
        let reason = format!("a sequence of {length} tokens is longer than the {} positions the model has learned", config.max_positions);
        return Err(Error::bad_config(reason));
    }
    Ok(())
}
