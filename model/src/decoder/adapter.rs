//! A decoder with a LoRA adapter ([`super::lora`]): the decoder is frozen, the adapter is trained.

use super::block::{Block, Linear};
use super::lora::{Lora, LoraSettings, Module, Site, blocks, modules};
use super::parameter::{Parameter, hash};
use super::{Decoder, layout};
use crate::error::{Error, Result};
use crate::safetensors_file::{NamedTensor, NamedTensors};
use engine::{Backend, Generator, Tensor};

/// A source that gives the value of a parameter by name and shape.
type Source<'a, T> = &'a mut dyn FnMut(&str, &[usize]) -> Result<T>;

impl<B: Backend> Decoder<B> {
    /// Returns this decoder, frozen, with an adapter. `source` gives its parameters by name and shape: `PATH.lora_A.weight` and
    /// `PATH.lora_B.weight`, where PATH is the module's name in the model's file. A module gets no adapter if `source` gives no A for it.
    ///
    /// # Errors
    /// Those of [`LoraSettings::validate`] and of the source; [`Error::MissingTensor`] if the source gives an A without its B.
    pub fn with_adapter(&self, settings: &LoraSettings, source: Source<'_, Option<Tensor<B>>>) -> Result<Self> {
        settings.validate(&self.config)?;
        let mut decoder = self.without_adapter();
        decoder.freeze();
        for (index, block) in decoder.blocks.iter_mut().enumerate() {
            for Module { site, path, shape: [rows, columns] } in modules(&self.config) {
                let name = format!("{}{index}.{path}", blocks(&self.config));
                let (a_name, b_name) = (format!("{name}.lora_A.weight"), format!("{name}.lora_B.weight"));
                let rank = settings.rank_of(&name);
                let Some(a) = source(&a_name, &[rank, columns])? else { continue };
                let b = source(&b_name, &[rows, rank])?.ok_or_else(|| Error::MissingTensor { name: b_name.clone() })?;
                let parameter = |name, tensor: Tensor<B>| Parameter { name, tensor };
                block.adapters.push(Lora { site, a: parameter(a_name, a), b: parameter(b_name, b), scale: settings.scale_of(&name) });
            }
        }
        decoder.adapter = Some(settings.clone());
        Ok(decoder)
    }

    /// Returns this decoder, frozen, with a new adapter on the settings' targets. As in peft, A is uniform within ±1/√in and B is zero, so
    /// that the adapter changes nothing yet. Each parameter has a random stream of its own, fixed by the seed and its name.
    ///
    /// # Errors
    /// Those of [`LoraSettings::validate`].
    pub fn with_new_adapter(&self, settings: &LoraSettings, seed: u64) -> Result<Self> {
        let (backend, wanted) = (self.backend().clone(), modules(&self.config));
        self.with_adapter(settings, &mut |name, shape| {
            let path = name.trim_end_matches(".lora_A.weight").trim_end_matches(".lora_B.weight");
            let module =
                wanted.iter().find(|module| path.ends_with(module.path) && settings.targets.iter().any(|target| module.is(target)));
            let count = shape.iter().product();
            let mut generator = Generator::new(seed).stream(hash(name));
            let bound = 1.0 / (shape[1] as f64).sqrt();
            let data: Vec<f64> = match name.ends_with(".lora_A.weight") {
                true => (0..count).map(|_| bound * (2.0 * generator.uniform() - 1.0)).collect(),
                false => vec![0.0; count],
            };
            Ok(module.map(|_| Tensor::parameter(&backend, &data, shape)))
        })
    }

    /// Returns the settings of the adapter, if there is one.
    pub fn adapter(&self) -> Option<&LoraSettings> {
        self.adapter.as_ref()
    }

    /// Returns the decoder without its adapter. It shares the weights, so there is no second copy.
    pub fn without_adapter(&self) -> Self {
        let mut base = self.clone();
        base.adapter = None;
        base.blocks.iter_mut().for_each(|block| block.adapters.clear());
        base
    }

    /// Returns a decoder without adapter whose weights are W + s·B·A. It computes the same and can be trained.
    pub fn merged(&self) -> Self {
        let mut merged = self.without_adapter();
        for (block, adapted) in merged.blocks.iter_mut().zip(&self.blocks) {
            for lora in &adapted.adapters {
                block.add_product(lora);
            }
        }
        merged.base_parameters_mut().into_iter().for_each(|p| p.tensor = p.tensor.to_parameter());
        merged
    }

    /// Returns this decoder with other values of its trained parameters, the adapter's or all. `source` gives them by name and shape.
    ///
    /// # Errors
    /// Those of the source.
    pub fn with_trained(&self, source: Source<'_, Tensor<B>>) -> Result<Self> {
        let mut decoder = self.clone();
        for parameter in decoder.parameters_mut() {
            let shape = parameter.tensor.shape().to_vec();
            parameter.tensor = source(&parameter.name, &shape)?.to_parameter();
        }
        Ok(decoder)
    }

    /// Returns the adapter's parameters by name, with rows in the file's order. Empty if there is no adapter.
    pub fn adapter_tensors(&self) -> NamedTensors {
        let loras = self.blocks.iter().flat_map(|block| &block.adapters);
        let value =
            |p: &Parameter<B>| NamedTensor::new(p.tensor.shape().to_vec(), p.tensor.to_f64().into_iter().map(|x| x as f32).collect());
        let pairs = loras.flat_map(|lora| {
            let b = match lora.site {
                Site::Fused => layout::fused_rows_to_file(&self.config, &value(&lora.b)),
                _ => value(&lora.b),
            };
            [(lora.a.name.clone(), value(&lora.a)), (lora.b.name.clone(), b)]
        });
        pairs.collect()
    }

    /// Returns this decoder, frozen, with the adapter that `tensors` holds, with rows in the file's order. Every tensor must belong to a
    /// module.
    ///
    /// # Errors
    /// As [`Decoder::with_adapter`]; [`Error::ShapeMismatch`]; [`Error::BadConfig`] for a tensor that belongs to no module of the decoder.
    pub fn with_adapter_tensors(&self, settings: &LoraSettings, mut tensors: NamedTensors) -> Result<Self> {
        let (backend, config) = (self.backend().clone(), self.config.clone());
        let fused = modules(&config).into_iter().find(|module| module.site == Site::Fused).map(|module| module.path);
        let decoder = self.with_adapter(settings, &mut |name, shape| {
            if !tensors.contains_key(name) {
                return Ok(None);
            }
            let mut tensor = layout::take(&mut tensors, name, shape)?;
            if fused.is_some_and(|path| name.ends_with(&format!("{path}.lora_B.weight"))) {
                tensor = layout::fused_rows_from_file(&config, name, &tensor)?;
            }
            let data: Vec<f64> = tensor.data.into_iter().map(f64::from).collect();
            Ok(Some(Tensor::parameter(&backend, &data, shape)))
        })?;
        match tensors.keys().next() {
            Some(name) => Err(Error::bad_config(format!("the adapter holds {name}, which is for no module of this model"))),
            None => Ok(decoder),
        }
    }

    fn freeze(&mut self) {
        self.base_parameters_mut().into_iter().for_each(|parameter| parameter.tensor = parameter.tensor.detach());
    }
}

impl<B: Backend> Block<B> {
    /// Returns the adapter at a site.
    pub(super) fn lora(&self, site: Site) -> Option<&Lora<B>> {
        self.adapters.iter().find(|lora| lora.site == site)
    }

    /// Computes the product of a module, plus that of its adapter if it has one.
    pub(super) fn adapted(&self, site: Site, linear: &Linear<B>, x: &Tensor<B>) -> Tensor<B> {
        self.with_adapter(site, linear.forward(x), x)
    }

    /// Computes the products of several modules with the same x, each plus that of its adapter if it has one.
    pub(super) fn adapted_together<const N: usize>(&self, modules: [(Site, &Linear<B>); N], x: &Tensor<B>) -> [Tensor<B>; N] {
        let layers = modules.map(|(_, linear)| linear.layer());
        let mut products = x.linears(&layers).into_iter();
        modules.map(|(site, _)| self.with_adapter(site, products.next().expect("a product for each module"), x))
    }

    /// Adds to y, a module's product of x, the product of its adapter if it has one.
    fn with_adapter(&self, site: Site, y: Tensor<B>, x: &Tensor<B>) -> Tensor<B> {
        match self.lora(site) {
            Some(lora) => y.add(&lora.forward(x)),
            None => y,
        }
    }

    /// Computes q, k and v of x, with their adapters.
    pub(super) fn projections(&self, x: &Tensor<B>) -> [Tensor<B>; 3] {
        let own = self.adapted_together([(Site::Q, &self.q), (Site::K, &self.k), (Site::V, &self.v)], x);
        let Some(fused) = self.lora(Site::Fused) else { return own };
        let (change, mut start) = (fused.forward(x), 0);
        own.map(|y| {
            let end = start + y.shape()[1];
            let part = change.slice(1, start, end);
            start = end;
            y.add(&part)
        })
    }

    fn add_product(&mut self, lora: &Lora<B>) {
        let product = lora.product();
        let mut rest = product.as_slice();
        let targets = match lora.site {
            Site::Fused => vec![&mut self.q, &mut self.k, &mut self.v],
            Site::Q => vec![&mut self.q],
            Site::K => vec![&mut self.k],
            Site::V => vec![&mut self.v],
            Site::O => vec![&mut self.o],
            Site::Gate => self.gate.as_mut().into_iter().collect(),
            Site::Up => vec![&mut self.up],
            Site::Down => vec![&mut self.down],
        };
        for Linear { weight, .. } in targets {
            let (own, after) = rest.split_at(weight.tensor.len());
            rest = after;
            let sum: Vec<f64> = weight.tensor.to_f64().iter().zip(own).map(|(w, change)| w + change).collect();
            weight.tensor = Tensor::parameter(weight.tensor.backend(), &sum, weight.tensor.shape());
        }
    }
}
