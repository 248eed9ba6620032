//! Loss surfaces over two reduced logits, and the spectra of the Hessians in the logits of all outcomes.

use super::descent::trajectory;
use super::figure::{Curve, Curves, Drawing, Figure, Surface, steps};
use crate::audit::eigen::{eigenvalues, hessian};
use crate::audit::instance::{eq7, evaluate, loss_of_logits, number, uniform};
use crate::audit::shape::{Instance, OUTCOMES};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use engine::{Backend, Generator, Tensor};

/// Points along each axis of a surface.
const GRID: usize = 49;
/// Distance that a surface reaches from the reference, in nats.
const REACH: f64 = 4.0;

pub fn figures(generator: &mut Generator) -> Vec<Figure> {
    let reference = Reference::draw(generator);
    let alpha = uniform(generator, 0.6, 0.8);
    let mut figures = surfaces(&reference, alpha);
    let instance = Instance::draw(generator);
    figures.push(spectra(&instance));
    figures.push(smallest(&instance));
    figures
}

/// A reference over the three classes w, l and o.
struct Reference {
    pi_w: f64,
    pi_l: f64,
}

impl Reference {
    fn draw(generator: &mut Generator) -> Self {
        Self { pi_w: uniform(generator, 0.05, 0.15), pi_l: uniform(generator, 0.1, 0.25) }
    }

    fn log(&self) -> (f64, f64) {
        (self.pi_w.ln(), self.pi_l.ln())
    }

    /// (z_w − z_o, z_l − z_o).
    fn reduced(&self) -> [f64; 2] {
        let log_others = (1.0 - self.pi_w - self.pi_l).ln();
        [self.pi_w.ln() - log_others, self.pi_l.ln() - log_others]
    }

    fn loss<B: Backend>(&self, loss: Loss, hyper: &Hyperparameters, reduced: &Tensor<B>) -> Tensor<B> {
        let z = Tensor::concat(&[reduced, &number(reduced, 0.0)], 0);
        loss_of_logits(loss, hyper, &z, self.log())
    }

    fn surface(&self, loss: Loss, alpha: f64, step: f64, value_label: &str) -> Surface {
        let centre = self.reduced();
        let axis = |i: usize| steps(centre[i] - REACH, centre[i] + REACH, GRID);
        let f = |at: &[f64]| evaluate(at, |x| self.loss(loss, &eq7(alpha), x));
        let values = axis(1).flat_map(|y| axis(0).map(move |x| [x, y])).map(|at| f(&at)).collect();
        let inside = |at: &Vec<f64>| at.iter().zip(centre).all(|(x, c)| (x - c).abs() <= REACH);
        let passed = trajectory(&centre, step, 600, 6, |x| self.loss(loss, &eq7(alpha), x));
        let path = passed.into_iter().take_while(inside).map(|at| (at[0], at[1])).collect();
        let (x, y) = (axis(0).collect(), axis(1).collect());
        let value_label = value_label.to_owned();
        Surface { x_label: "z_w − z_o", y_label: "z_l − z_o", value_label, x, y, values, path }
    }
}

/// A row (figure, loss, α, length of a step of the path, title, what to look for).
type Descent = (&'static str, Loss, f64, f64, &'static str, &'static str);

fn surfaces(reference: &Reference, alpha: f64) -> Vec<Figure> {
    let rows: [Descent; 4] = [
        (
            "surface-dpo",
            Loss::Dpo,
            1.0,
            1.0,
            "DPO: a slope",
            "It depends on z_w − z_l alone and falls for ever: no minimum, and nothing holds z_o.",
        ),
        ("surface-eq6", Loss::Slpo, 1.0, 1.0, "Eq 6: a valley open below", "The minimum lies at z_l → −∞, along the lower edge."),
        ("surface-eq7", Loss::Slpo, alpha, 1.0, "Eq 7: a bowl in three classes", "One minimum, inside; in three classes it is convex."),
        (
            "surface-gkl",
            Loss::SlpoGkl,
            alpha,
            1.0,
            "SLPO-GKL",
            "The same minimum in units of the pair's mass, with gradients of order 1 at any length.",
        ),
    ];
    let draw = |(name, loss, alpha, step, title, words): Descent| {
        let surface = reference.surface(loss, alpha, step, loss.name());
        let caption = format!(
            "{words} Reference π = ({:.3}, {:.3}), α = {alpha:.2}; the line is the path of gradient descent from the reference.",
            reference.pi_w, reference.pi_l
        );
        Figure::new(name, &["C1"], title, caption, Drawing::Surface(surface))
    };
    rows.map(draw).into()
}

/// Returns the losses whose Hessians are compared, by name, with their α.
fn forms(alpha: f64) -> [(String, Loss, f64); 4] {
    [
        ("DPO".to_owned(), Loss::Dpo, 1.0),
        ("Eq 6".to_owned(), Loss::Slpo, 1.0),
        (format!("Eq 7, α = {alpha:.2}"), Loss::Slpo, alpha),
        (format!("SLPO-GKL, α = {alpha:.2}"), Loss::SlpoGkl, alpha),
    ]
}

fn spectra(instance: &Instance) -> Figure {
    let spectrum = |(name, loss, alpha): (String, Loss, f64)| {
        let values = eigenvalues(&instance.hessian(loss, alpha));
        Curve::marks(name, values.into_iter().enumerate().map(|(i, value)| ((i + 1) as f64, value)).collect())
    };
    let curves: Vec<Curve> = forms(instance.alpha).map(spectrum).into();
    let least = curves[1].points[0].1;
    let caption = format!(
        "The {OUTCOMES} eigenvalues of each Hessian in the logits of {OUTCOMES} sequences, at a policy that gives the pair more than its target \
         mass. DPO has one that is not 0. Eq 6 and Eq 7 have the same Hessian (the weights enter linearly), with eigenvalues below 0 down to \
         {least:.4}: no bowl."
    );
    let curves = Curves::new("eigenvalue, from the smallest", "curvature", curves).level("flat", 0.0);
    Figure::new("spectra", &["C1"], "Spectra of the Hessians in all logits", caption, Drawing::Curves(curves))
}

/// Draws the smallest eigenvalue against the policy's mass of the pair.
fn smallest(instance: &Instance) -> Figure {
    let target = instance.reference.0.exp() + instance.reference.1.exp();
    let others: f64 = instance.logits[2..].iter().map(|x| x.exp()).sum();
    let at = |mass: f64| -> Vec<f64> {
        let shift = |i: usize| if i < 2 { (mass / (1.0 - others)).ln() } else { ((1.0 - mass) / others).ln() };
        instance.logits.iter().enumerate().map(|(i, x)| x + shift(i)).collect()
    };
    let curve = |(name, loss, alpha): (String, Loss, f64)| {
        let least = |mass: f64| eigenvalues(&hessian(&at(mass), |z| loss_of_logits(loss, &eq7(alpha), z, instance.reference)))[0];
        Curve::line(name, steps(0.02, 0.98, 33).map(|mass| (mass, least(mass))).collect())
    };
    // Eq 7's Hessian equals Eq 6's, and that of SLPO-GKL has another scale. Neither is drawn.
    let curves: Vec<Curve> = forms(instance.alpha).into_iter().take(2).map(curve).collect();
    let caption = format!(
        "Eq 6 is convex while the pair has less than its target mass m = {target:.3}; beyond it, the others' logits have a direction of negative \
         curvature (π_o − w_o)·Var. DPO's smallest eigenvalue is 0 everywhere."
    );
    let curves = Curves::new("π(y_w) + π(y_l)", "smallest eigenvalue", curves).level("flat", 0.0);
    Figure::new("smallest-eigenvalue", &["C1"], "Where the bowl ends", caption, Drawing::Curves(curves))
}
