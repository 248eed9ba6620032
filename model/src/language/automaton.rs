//! A deterministic stochastic automaton without cycles, and the exact recursions over its states.
//!
//! States are numbered so that every arc leads to a smaller number and the end state is 0. A recursion is then one loop from 0 upwards, and
//! the start state is the last.

/// A token: an index into the words of a language.
pub type Token = u32;

/// The number of a state.
pub(super) type State = usize;

/// A word that may come next.
#[derive(Debug, Clone)]
pub(super) struct Arc {
    pub token: Token,
    /// ln p(token | state).
    pub log_prob: f64,
    pub reward: f64,
    pub to: State,
}

/// A walk through the automaton.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    pub tokens: Vec<Token>,
    pub log_prob: f64,
    pub reward: f64,
}

#[derive(Debug, Clone)]
struct Node {
    arcs: Vec<Arc>,
    /// True if this state's past ends with a sentence's subject, so that a completion begins here.
    is_subject: bool,
    /// True if the arcs belong to the completion; false if they belong to a state before the subject.
    in_completion: bool,
}

/// The automaton. It is built from its end to its start with [`add`](Self::add).
#[derive(Debug, Clone)]
pub(super) struct Automaton {
    nodes: Vec<Node>,
}

impl Automaton {
    pub(super) const END: State = 0;

    /// Makes an automaton with the end state only.
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node { arcs: Vec::new(), is_subject: false, in_completion: true }] }
    }

    /// Adds a state with `arcs` given as (token, relative weight, reward, next state) and returns it.
    pub(super) fn add(&mut self, arcs: &[(Token, f64, f64, State)]) -> State {
        let total: f64 = arcs.iter().map(|arc| arc.1).sum();
        let arc = |&(token, weight, reward, to): &_| Arc { token, log_prob: f64::ln(weight / total), reward, to };
        let arcs: Vec<Arc> = arcs.iter().map(arc).collect();
        debug_assert!(arcs.iter().all(|arc| arc.to < self.nodes.len()), "an arc must lead to an earlier state");
        let in_completion = arcs.iter().all(|arc| self.nodes[arc.to].in_completion && !self.nodes[arc.to].is_subject);
        self.nodes.push(Node { arcs, is_subject: false, in_completion });
        self.nodes.len() - 1
    }

    /// Adds a state where a prompt ends and a completion begins.
    pub(super) fn add_subject(&mut self, arcs: &[(Token, f64, f64, State)]) -> State {
        let state = self.add(arcs);
        self.nodes[state].is_subject = true;
        state
    }

    pub(super) fn start(&self) -> State {
        self.nodes.len() - 1
    }

    pub(super) fn end(&self) -> State {
        Self::END
    }

    pub(super) fn is_subject(&self, state: State) -> bool {
        self.nodes[state].is_subject
    }

    pub(super) fn arcs(&self, state: State) -> &[Arc] {
        &self.nodes[state].arcs
    }

    pub(super) fn arc(&self, state: State, token: Token) -> Option<&Arc> {
        self.nodes[state].arcs.iter().find(|arc| arc.token == token)
    }

    /// Returns the state reached by reading `tokens`.
    pub(super) fn follow(&self, from: State, tokens: &[Token]) -> Option<State> {
        tokens.iter().try_fold(from, |state, &token| Some(self.arc(state, token)?.to))
    }

    /// ln P(`tokens` up to exactly the end | `from`).
    pub(super) fn log_prob(&self, from: State, tokens: &[Token]) -> f64 {
        let step = |(state, sum): (State, f64), &token: &Token| {
            let arc = self.arc(state, token)?;
            Some((arc.to, sum + arc.log_prob))
        };
        match tokens.iter().try_fold((from, 0.0), step) {
            Some((Self::END, sum)) => sum,
            _ => f64::NEG_INFINITY,
        }
    }

    /// Draws tokens until `stop` holds, by inversion of the cumulative distribution.
    pub(super) fn sample(&self, from: State, stop: impl Fn(State) -> bool, random: &mut impl FnMut() -> f64) -> Vec<Token> {
        let (mut state, mut tokens) = (from, Vec::new());
        while !stop(state) {
            let arcs = self.arcs(state);
            let mut rest = random();
            let mut chosen = &arcs[arcs.len() - 1];
            for arc in arcs {
                rest -= arc.log_prob.exp();
                if rest < 0.0 {
                    chosen = arc;
                    break;
                }
            }
            tokens.push(chosen.token);
            state = chosen.to;
        }
        tokens
    }

    /// Lists every walk from `from` to the first state where `stop` holds.
    pub(super) fn paths(&self, from: State, stop: impl Fn(State) -> bool) -> Vec<Path> {
        let mut found = Vec::new();
        self.extend(from, &Path::default(), &stop, &mut found);
        found
    }

    fn extend(&self, state: State, path: &Path, stop: &impl Fn(State) -> bool, found: &mut Vec<Path>) {
        if stop(state) {
            found.push(path.clone());
            return;
        }
        for arc in self.arcs(state) {
            let mut longer = path.clone();
            longer.tokens.push(arc.token);
            longer.log_prob += arc.log_prob;
            longer.reward += arc.reward;
            self.extend(arc.to, &longer, stop, found);
        }
    }

    /// Solves value(s) = combine(arcs of s, values of the states they lead to) for every state, with value(end) = 0.
    fn backward(&self, combine: impl Fn(State, &[f64]) -> f64) -> Vec<f64> {
        let mut values = vec![0.0];
        for state in 1..self.nodes.len() {
            values.push(combine(state, &values));
        }
        values
    }

    /// V(s) = Σₐ p(a|s)·(f(a) + V(s′)).
    pub(super) fn expectation(&self, f: impl Fn(&Arc) -> f64) -> Vec<f64> {
        self.backward(|state, values| self.arcs(state).iter().map(|arc| arc.log_prob.exp() * (f(arc) + values[arc.to])).sum())
    }

    /// H(s) = Σₐ p(a|s)·(−ln p(a|s) + H(s′)).
    pub(super) fn entropy(&self) -> Vec<f64> {
        self.expectation(|arc| -arc.log_prob)
    }

    /// Computes the maximum, over walks, of the sum of rewards.
    pub(super) fn best_reward(&self) -> Vec<f64> {
        self.backward(|state, values| self.arcs(state).iter().map(|arc| arc.reward + values[arc.to]).fold(f64::NEG_INFINITY, f64::max))
    }

    /// ln Z(s) = logsumexpₐ(ln p(a|s) + r(a)/β + ln Z(s′)). Alignment leaves the prompts unchanged, so the values of states before the
    /// completion are not used.
    #[track_caller]
    pub(super) fn log_partition(&self, beta: f64) -> Vec<f64> {
        assert!(beta > 0.0, "beta must be positive, it is {beta}");
        self.backward(|state, values| log_sum_exp(self.arcs(state).iter().map(|arc| arc.log_prob + arc.reward / beta + values[arc.to])))
    }

    /// Returns the automaton with π*(a|s) = p(a|s)·exp(r(a)/β + ln Z(s′) − ln Z(s)) in the completion and unchanged prompts.
    #[track_caller]
    pub(super) fn tilted(&self, beta: f64) -> Self {
        let log_z = self.log_partition(beta);
        let mut tilted = self.clone();
        for (state, node) in tilted.nodes.iter_mut().enumerate().filter(|(_, node)| node.in_completion) {
            for arc in &mut node.arcs {
                arc.log_prob += arc.reward / beta + log_z[arc.to] - log_z[state];
            }
        }
        tilted
    }

    /// K(s) = Σₐ q(a|s)·(ln q(a|s) − ln p(a|s) + K(s′)), q this automaton and p `other`, on the same arcs.
    pub(super) fn kl_from(&self, other: &Self) -> Vec<f64> {
        self.backward(|state, values| {
            let pairs = self.arcs(state).iter().zip(other.arcs(state));
            pairs.map(|(q, p)| q.log_prob.exp() * (q.log_prob - p.log_prob + values[q.to])).sum()
        })
    }
}

/// Computes ln Σ e^x, with the largest x factored out so that no term overflows.
fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
}
