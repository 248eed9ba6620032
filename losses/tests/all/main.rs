//! The tests of the losses, as one program: a module each.

mod agreement;
mod audit;
mod audit_figures;
mod batchwise;
mod common;
mod exact_target;
mod log_ratios;
mod margins_and_links;
mod oracles;
mod reference_free;
mod registry;
mod sequences;
mod slpo_forms;
mod token_weights;
mod unpaired;
mod verify;
