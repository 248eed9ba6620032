//! A Llama block out of ops, equal to the decoder.
//!
//! A block adds two things to the stream x of one vector a token: what attention gathers from earlier tokens, and what a gated layer makes
//! of each token. Read this beside `src/decoder/block.rs`, which does the same for many sequences at once, with fused kernels.
//!
//! It prints:
//! ```text
//! 5 tokens through 2 blocks: [5, 512] logits
//! the decoder's are the same, to within 1e-13
//! ```

use engine::{Cpu, Tensor};
use model::config::Config;
use model::decoder::{Decoder, Packed};

type Array = Tensor<Cpu<f64>>;

/// Rotates pairs of components (i, i + d/2) of each token by angles that grow with its position: scores then depend on distances.
fn rotate(x: &Array, base: f64) -> Array {
    let (tokens, d) = (x.shape()[0], x.shape()[1]);
    let angle = |t: usize, i: usize| t as f64 * base.powf(-2.0 * i as f64 / d as f64);
    let table = |f: fn(f64) -> f64| {
        let all: Vec<f64> = (0..tokens).flat_map(|t| (0..d / 2).map(move |i| f(angle(t, i)))).collect();
        Tensor::constant(x.backend(), &all, &[tokens, d / 2])
    };
    let (cos, sin) = (table(f64::cos), table(f64::sin));
    let (first, second) = (x.slice(1, 0, d / 2), x.slice(1, d / 2, d));
    Tensor::concat(&[&(&first * &cos - &second * &sin), &(&first * &sin + &second * &cos)], 1)
}

/// softmax(q·kᵀ/√d + mask)·v, where the mask hides later tokens.
fn attention(q: &Array, k: &Array, v: &Array) -> Array {
    let (tokens, d) = (q.shape()[0], q.shape()[1]);
    let hidden: Vec<f64> =
        (0..tokens * tokens).map(|place| if place % tokens > place / tokens { f64::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::constant(q.backend(), &hidden, &[tokens, tokens]);
    (q.matmul(&k.t()) / (d as f64).sqrt() + mask).softmax().matmul(v)
}

fn block(x: &Array, weight: &dyn Fn(&str) -> Array, config: &Config) -> Array {
    let d = config.head_dim;
    let normed = x.rms_norm(&weight("input_layernorm"), config.norm_eps);
    let [q, k, v] = ["q", "k", "v"].map(|name| normed.linear(&weight(&format!("self_attn.{name}_proj")), None));
    let heads: Vec<Array> = (0..config.heads)
        .map(|head| {
            let [q, k, v] = [&q, &k, &v].map(|all| all.slice(1, head * d, (head + 1) * d));
            attention(&rotate(&q, 1e4), &rotate(&k, 1e4), &v)
        })
        .collect();
    let gathered = Tensor::concat(&heads.iter().collect::<Vec<_>>(), 1);
    let x = x + gathered.linear(&weight("self_attn.o_proj"), None);

    let normed = x.rms_norm(&weight("post_attention_layernorm"), config.norm_eps);
    let [gate, up] = ["gate", "up"].map(|name| normed.linear(&weight(&format!("mlp.{name}_proj")), None));
    x + (gate.silu() * up).linear(&weight("mlp.down_proj"), None)
}

fn main() -> Result<(), model::Error> {
    let config = Config { layers: 2, ..Config::preset("nano")? };
    let decoder = Decoder::random(&Cpu::<f64>::new(), &config, 1)?;
    let named = |name: String| -> Array {
        let parameter = decoder.parameters().into_iter().find(|parameter| parameter.name == name);
        parameter.unwrap_or_else(|| panic!("the decoder has no {name}")).tensor.clone()
    };

    let tokens = [72, 101, 108, 108, 111];
    let embedding = named("model.embed_tokens.weight".to_owned());
    let mut x = embedding.embedding(&tokens.into());
    for layer in 0..config.layers {
        x = block(&x, &|name| named(format!("model.layers.{layer}.{name}.weight")), &config);
    }
    let logits = x.rms_norm(&named("model.norm.weight".to_owned()), config.norm_eps).linear(&embedding, None);

    let of_decoder = decoder.logits(&Packed::new([&tokens[..]]));
    let largest = logits.to_f64().iter().zip(of_decoder.to_f64()).map(|(here, there)| (here - there).abs()).fold(0.0, f64::max);
    println!("{} tokens through {} blocks: {:?} logits", tokens.len(), config.layers, logits.shape());
    assert!(largest < 1e-13, "the decoder differs by {largest}");
    println!("the decoder's are the same, to within 1e-13");
    Ok(())
}
