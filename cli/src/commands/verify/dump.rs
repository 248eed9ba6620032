//! A file with the inputs and results of a loss, written by another program.

use losses::verify::{DumpPrecision, ExactProblem, PairProblem, Problem, Results, RowProblem, TailProblem, TokenLogProbs, TokenProblem};
use losses::{Hyperparameters, Kind, Loss, Need, Objective};
use model::safetensors_file::{RawTensor, read_raw};
use model::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The sums of a pairwise loss, the token log-probabilities behind each, and the mask of the tokens that count.
const TOKENS: [(&str, &str, &str); 4] = [
    ("policy_chosen_logps", "policy_chosen_token_logps", "chosen_mask"),
    ("policy_rejected_logps", "policy_rejected_token_logps", "rejected_mask"),
    ("reference_chosen_logps", "reference_chosen_token_logps", "chosen_mask"),
    ("reference_rejected_logps", "reference_rejected_token_logps", "rejected_mask"),
];

/// The tensors of a file, and the coarsest type among those that were read.
pub struct Dump {
    path: PathBuf,
    tensors: BTreeMap<String, RawTensor>,
    precision: DumpPrecision,
}

impl Dump {
    /// Reads the whole file.
    ///
    /// # Errors
    /// The errors of [`read_raw`].
    pub fn open(path: &Path) -> Result<Self> {
        let tensors = read_raw(path)?.into_iter().collect();
        Ok(Self { path: path.to_owned(), tensors, precision: DumpPrecision::F64 })
    }

    /// Returns the coarsest type of the numbers that were read.
    pub fn precision(&self) -> DumpPrecision {
        self.precision
    }

    /// Reads the inputs of a loss.
    ///
    /// # Errors
    /// [`Error::BadFile`] for a tensor that is missing or of the wrong shape or type.
    pub fn problem(&mut self, objective: &Objective) -> Result<Problem> {
        let has_tokens = TOKENS.iter().any(|(_, tokens, _)| self.tensors.contains_key(*tokens));
        match objective.loss().kind() {
            Kind::Pairwise if objective.needs(Need::Tails) && objective.terms().len() > 1 => {
                Err(self.bad(format!("{objective}: ld-dpo is verified alone, because it reads other sums than other losses")))
            }
            Kind::Pairwise if objective.needs(Need::Tails) && has_tokens => self.tails(*objective.hyperparameters()),
            Kind::Pairwise | Kind::Batchwise => self.pairs(objective).map(Problem::Pairs),
            Kind::Unpaired => self.rows(objective).map(Problem::Rows),
            Kind::Tokenwise => self.tokens(objective.loss()).map(Problem::Tokens),
            Kind::Exact => self.exact(*objective.hyperparameters()).map(Problem::Exact),
        }
    }

    /// Reads the loss and the gradients that the file contains.
    ///
    /// # Errors
    /// As [`Dump::problem`]. Also if the file contains neither loss nor gradients.
    pub fn results(&mut self, problem: &Problem) -> Result<Results> {
        let names = problem.gradient_names();
        let loss = self.optional("loss", |dump| dump.number("loss"))?;
        let gradients = names
            .iter()
            .map(|name| self.optional(name, |dump| dump.floats(name, Some(&problem.gradient_shape(name)))))
            .collect::<Result<Vec<_>>>()?;
        if loss.is_none() && gradients.iter().all(Option::is_none) {
            return Err(self.bad(format!("nothing to check: there is no `loss` and no `{}`; {}", names.join("`, `"), self.found())));
        }
        Ok(Results { loss, gradients })
    }

    /// Reads the token log-probabilities and masks behind the sums of a pairwise loss. Returns each with its sums.
    ///
    /// # Errors
    /// As [`Dump::problem`].
    pub fn log_probs(&mut self, problem: &Problem) -> Result<Vec<(Vec<f64>, TokenLogProbs)>> {
        let pairs = match problem {
            Problem::Pairs(pairs) => pairs.policy_chosen.len(),
            Problem::Tails(tails) => tails.shapes()[0][0],
            Problem::Rows(_) | Problem::Tokens(_) | Problem::Exact(_) => return Ok(Vec::new()),
        };
        let mut found = Vec::new();
        for (name, tokens, mask) in TOKENS {
            let tokens = self.optional(tokens, |dump| dump.token_log_probs(name, tokens, mask, pairs))?;
            let sums = self.optional(name, |dump| dump.floats(name, Some(&[pairs])))?;
            found.extend(sums.zip(tokens));
        }
        Ok(found)
    }

    /// Reads token log-probabilities with weighted tails.
    fn tails(&mut self, hyper: Hyperparameters) -> Result<Problem> {
        let pairs = self.get(TOKENS[0].1)?.shape.first().copied().unwrap_or_default();
        let [chosen, rejected, reference_chosen, reference_rejected] =
            TOKENS.map(|(name, tokens, mask)| self.token_log_probs(name, tokens, mask, pairs));
        let problem = TailProblem::new(hyper, [chosen?, rejected?, reference_chosen?, reference_rejected?]);
        problem.map(|problem| Problem::Tails(Box::new(problem))).map_err(|error| self.bad(error.to_string()))
    }

    fn token_log_probs(&mut self, name: &'static str, tensor: &str, mask: &str, sequences: usize) -> Result<TokenLogProbs> {
        let shape = self.get(tensor)?.shape.clone();
        let [batch, length] = shape[..] else {
            return Err(self.bad(format!("`{tensor}` has shape {shape:?}, but two axes [B, T] are needed")));
        };
        if batch != sequences || length == 0 {
            return Err(self.bad(format!("`{tensor}` has shape {shape:?}, but {:?} is needed", [sequences, length.max(1)])));
        }
        Ok(TokenLogProbs { name, values: self.floats(tensor, None)?, keep: self.mask(mask, &shape)?, length })
    }

    fn exact(&mut self, hyper: Hyperparameters) -> Result<ExactProblem> {
        let logits = self.floats("logits", None)?;
        let found = self.get("logits")?.shape.clone();
        let [sequences, length, vocabulary] = found[..] else {
            return Err(self.bad(format!("`logits` has shape {found:?}, but three axes [2B, T, V] are needed")));
        };
        if !sequences.is_multiple_of(2) || sequences * length * vocabulary == 0 {
            return Err(self.bad(format!("`logits` has shape {found:?}, but chosen and rejected completions [2B, T, V] are needed")));
        }
        let reference = self.floats("reference_logits", Some(&found))?;
        let tokens = [sequences / 2, length];
        let (chosen, rejected) = (self.completions("y_w", &tokens)?, self.completions("y_l", &tokens)?);
        Ok(ExactProblem { hyper, logits, reference, shape: [sequences, length, vocabulary], chosen, rejected })
    }

    /// Reads the tokens of each row, up to the first negative number.
    fn completions(&self, name: &str, shape: &[usize; 2]) -> Result<Vec<Vec<u32>>> {
        self.check_shape(name, shape)?;
        let tensor = self.get(name)?;
        let Some(values) = tensor.to_i64() else {
            return Err(self.bad(format!("`{name}` is {:?}, but I64 (or another integer) is needed", tensor.dtype)));
        };
        let token = |&value: &i64| u32::try_from(value).map_err(|_| self.bad(format!("`{name}` holds {value}, which is no token")));
        values.chunks(shape[1]).map(|row| row.iter().take_while(|&&value| value >= 0).map(token).collect()).collect()
    }

    fn number(&mut self, name: &str) -> Result<f64> {
        let values = self.floats(name, None)?;
        let shape = &self.get(name)?.shape;
        match values[..] {
            [number] => Ok(number),
            _ => Err(self.bad(format!("`{name}` has shape {shape:?}, but one number is needed"))),
        }
    }

    fn rows(&mut self, objective: &Objective) -> Result<RowProblem> {
        let policy = self.floats("policy_logps", None)?;
        let shape = [policy.len()];
        self.check_shape("policy_logps", &shape)?;
        let reference = self.floats("reference_logps", Some(&shape))?;
        let labels = self.mask("label", &shape)?;
        let divergence = if objective.needs(Need::Divergence) { self.number("kl")? } else { 0.0 };
        let (terms, hyper) = (objective.terms().to_vec(), *objective.hyperparameters());
        Ok(RowProblem { terms, hyper, policy, reference, labels, divergence })
    }

    fn pairs(&mut self, objective: &Objective) -> Result<PairProblem> {
        let policy_chosen = self.floats("policy_chosen_logps", None)?;
        let shape = [policy_chosen.len()];
        let expected = &shape[..];
        self.check_shape("policy_chosen_logps", expected)?;
        let policy_rejected = self.floats("policy_rejected_logps", Some(expected))?;
        let [reference_chosen, reference_rejected] = if objective.needs(Need::Reference) {
            [self.floats("reference_chosen_logps", Some(expected))?, self.floats("reference_rejected_logps", Some(expected))?]
        } else {
            [vec![0.0; shape[0]], vec![0.0; shape[0]]]
        };
        let chosen = self.optional("chosen_lengths", |dump| dump.indices("chosen_lengths", expected))?;
        let rejected = self.optional("rejected_lengths", |dump| dump.indices("rejected_lengths", expected))?;
        let lengths = chosen.zip(rejected).map(|(w, l)| (widened(w), widened(l)));
        if objective.needs(Need::Lengths) && lengths.is_none() {
            self.get("chosen_lengths")?;
            self.get("rejected_lengths")?;
        }
        let mut columns = |need: Need, names: [&str; 2]| -> Result<Option<(Vec<f64>, Vec<f64>)>> {
            if !objective.needs(need) {
                return Ok(None);
            }
            Ok(Some((self.floats(names[0], Some(expected))?, self.floats(names[1], Some(expected))?)))
        };
        let weights = columns(Need::PairWeights, ["chosen_weights", "rejected_weights"])?;
        let divergences = columns(Need::Divergences, ["chosen_divergences", "rejected_divergences"])?;
        let (terms, hyper) = (objective.terms().to_vec(), *objective.hyperparameters());
        Ok(PairProblem {
            terms,
            hyper,
            policy_chosen,
            policy_rejected,
            reference_chosen,
            reference_rejected,
            lengths,
            weights,
            divergences,
        })
    }

    fn tokens(&mut self, loss: Loss) -> Result<TokenProblem> {
        let logits = self.floats("logits", None)?;
        let found = self.get("logits")?.shape.clone();
        let &[batch, length, vocabulary] = &found[..] else {
            return Err(self.bad(format!("`logits` has shape {found:?}, but three axes [B, T, V] are needed")));
        };
        let shape = [batch, length, vocabulary];
        let positions = &[batch, length][..];
        let chosen = self.indices("y_w", positions)?;
        let rejected = self.indices("y_l", positions)?;
        let w_w = self.floats("w_w", Some(positions))?;
        let w_l = self.optional("w_l", |dump| dump.floats("w_l", Some(positions)))?;
        let keep = self.optional("mask", |dump| dump.mask("mask", positions))?;
        Ok(TokenProblem { loss, logits, shape, chosen, rejected, w_w, w_l, keep })
    }

    /// Calls `read` if the file has a tensor of this name.
    fn optional<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.tensors.contains_key(name) { read(self).map(Some) } else { Ok(None) }
    }

    /// Reads numbers of a floating-point type.
    fn floats(&mut self, name: &str, shape: Option<&[usize]>) -> Result<Vec<f64>> {
        if let Some(shape) = shape {
            self.check_shape(name, shape)?;
        }
        let tensor = self.get(name)?;
        let dtype = format!("{:?}", tensor.dtype);
        let precision = match dtype.as_str() {
            "F32" => DumpPrecision::F32,
            "F16" => DumpPrecision::F16,
            "BF16" => DumpPrecision::BF16,
            _ => DumpPrecision::F64,
        };
        let Some(values) = tensor.to_f64() else {
            return Err(self.bad(format!("`{name}` is {dtype}, but F64, F32, F16 or BF16 is needed")));
        };
        self.precision = self.precision.max(precision);
        Ok(values)
    }

    /// Reads whole numbers of at least 0.
    fn indices(&self, name: &str, shape: &[usize]) -> Result<Vec<u32>> {
        self.check_shape(name, shape)?;
        let tensor = self.get(name)?;
        let Some(values) = tensor.to_i64() else {
            return Err(self.bad(format!("`{name}` is {:?}, but I64 (or another integer) is needed", tensor.dtype)));
        };
        let index = |(i, value): (usize, i64)| {
            u32::try_from(value).map_err(|_| self.bad(format!("`{name}`[{i}] is {value}, but must be at least 0 and below 2^32")))
        };
        values.into_iter().enumerate().map(index).collect()
    }

    /// Reads a mask: a position counts if its number, of any type, is not 0.
    fn mask(&self, name: &str, shape: &[usize]) -> Result<Vec<bool>> {
        self.check_shape(name, shape)?;
        let tensor = self.get(name)?;
        let kept = match (tensor.to_f64(), tensor.to_i64()) {
            (Some(values), _) => values.iter().map(|&x| x != 0.0).collect(),
            (_, Some(values)) => values.iter().map(|&x| x != 0).collect(),
            _ if tensor.bytes.len() == shape.iter().product::<usize>() => tensor.bytes.iter().map(|&x| x != 0).collect(),
            _ => return Err(self.bad(format!("`{name}` is {:?}, but BOOL, a number or I64 is needed", tensor.dtype))),
        };
        Ok(kept)
    }

    fn check_shape(&self, name: &str, expected: &[usize]) -> Result<()> {
        let found = &self.get(name)?.shape;
        if found[..] == *expected {
            return Ok(());
        }
        Err(self.bad(format!("`{name}` has shape {found:?}, but {expected:?} is needed")))
    }

    fn get(&self, name: &str) -> Result<&RawTensor> {
        self.tensors.get(name).ok_or_else(|| self.bad(format!("tensor `{name}` is missing; {}", self.found())))
    }

    /// Lists the names of all tensors in words.
    fn found(&self) -> String {
        let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        if names.is_empty() { "the file has none".to_owned() } else { format!("the file has {}", names.join(", ")) }
    }

    fn bad(&self, reason: String) -> Error {
        Error::bad_file(&self.path, reason)
    }
}

fn widened(lengths: Vec<u32>) -> Vec<usize> {
    lengths.into_iter().map(|length| length as usize).collect()
}
