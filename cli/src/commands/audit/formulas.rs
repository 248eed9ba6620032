//! The formula or sentence of the paper behind each claim, in LaTeX, as the paper writes it; those of its revision in our notation.

/// Returns the paper's formula for the claim with this id, or `None` if the audit has no such claim.
pub fn of(id: &str) -> Option<&'static str> {
    Some(match id {
        "E1" => {
            r"L_{\text{DPO}} = -\mathbb{E} \log\left[\sigma\left(\beta \log \frac{\pi_\theta(y_w|x)}{\pi_{\text{ref}}(y_w|x)} - \beta \log \frac{\pi_\theta(y_l|x)}{\pi_{\text{ref}}(y_l|x)}\right)\right] \quad (1)"
        }
        "E2" => r"\pi_{\text{ref}}(y \mid x) = \prod_{t=1}^{T} \pi_{\text{ref}}(y_t \mid x, y_{<t}) \quad (2)",
        "E3" => r"g(y \mid x) = \text{logsoftmax}(f(y \mid x)) \quad (3)",
        "E4" => {
            r"L_{\text{DPO}} = -\mathbb{E} \log\left[\sigma\left(\beta\left(\sum_{t=1}^{T_w} [g_\theta(y_{w,t}) - g_{\text{ref}}(y_{w,t})] - \sum_{t=1}^{T_l} [g_\theta(y_{l,t}) - g_{\text{ref}}(y_{l,t})]\right)\right)\right] \quad (4)"
        }
        "E5" => {
            r"L_{\text{DPO}} = -\mathbb{E}\, \text{CCE}\left[y_{\text{true}} = \begin{bmatrix} 1 \\ 0 \end{bmatrix}, y_{\text{pred}} = \text{softmax}\left(\begin{bmatrix} \beta S_w \\ \beta S_l \end{bmatrix}\right)\right] \quad (5)"
        }
        "A1" => r"\frac{e^{z_1}}{e^{z_1} + e^{z_2}} = \frac{1}{1 + e^{z_2 - z_1}} = \sigma(\alpha), \quad \alpha = z_1 - z_2",
        "K1" => r"\sigma(\beta S_w - \beta S_l) = \text{softmax}(\beta S_w, \beta S_l)_1",
        "K2a" => {
            r"g_\theta - g_{\text{ref}} = 0 \;\Rightarrow\; \frac{\partial L}{\partial g_\theta(y_{w,1})} = \dots = \frac{\partial L}{\partial g_\theta(y_{w,T})}"
        }
        "K2b" => {
            r"\frac{\partial L}{\partial z_{w,1}} = \dots = \frac{\partial L}{\partial z_{w,T}}, \quad g_\theta = \text{logsoftmax}(z)"
        }
        "K3a" => r"\text{softmax}\left(\left[\sum_{i=1}^{T} \alpha_i, 0\right]\right) \approx \text{softmax}([T \times \alpha_k, 0])",
        "K3b" => {
            r"\frac{\partial \text{CCE}}{\partial \alpha_k} = \frac{e^{T \times \alpha_k}}{e^{T \times \alpha_k} + e^0} - y_i \quad (8)"
        }
        "K4a" => r"L_{\text{DPO}}(\pi_\theta; \pi_{\text{ref}}) = f(\pi_\theta(y_w \mid x), \pi_\theta(y_l \mid x))",
        "K4b" => {
            r"g_\theta(y_{w,t}) - g_{\text{ref}}(y_{w,t}) \to +\infty, \quad g_\theta(y_{l,t}) - g_{\text{ref}}(y_{l,t}) \to -\infty, \quad \pi_\theta(y_w \mid x) \to 1"
        }
        "B1" => {
            r"\text{temp}^{-1} \frac{e^{z_i \cdot \text{temp}^{-1}}}{\sum_j e^{z_j \cdot \text{temp}^{-1}}} = \frac{e^{z_i \cdot \text{temp}^{-1} - \log(\text{temp})}}{\sum_j e^{z_j \cdot \text{temp}^{-1} - \log(\text{temp})}}"
        }
        "B2" => r"e^{-\log(\text{temp})} = 1/\text{temp} = 0.01 \quad (\text{temp}^{-1} = 100)",
        "B3" => {
            r"\frac{\partial C}{\partial z_i} = \left(\frac{e^{z_1 \cdot \text{temp}^{-1}}}{e^{z_1 \cdot \text{temp}^{-1} + C}} - y_1\right) \quad (9)"
        }
        "P1" => r"\text{CCE}(y, \hat{y}) = -\sum_k y_k \log(\hat{y}_k), \quad y = (0.6, 0.4)",
        "S1" | "S2" => {
            r"L_{\text{SLPO}} = -\mathbb{E}\left(w_w \log \pi_\theta(y_w|x) + 0 \cdot \log \pi_\theta(y_l|x) + (1 - w_w) \log \pi_\theta(y_o|x)\right) \quad (6)"
        }
        "S3" => r"\underbrace{(1 - w_w) * \log(\pi_\theta(y_o \mid x))}_{3}",
        "S4" | "S5" => {
            r"w_w = \alpha \cdot (\pi_{\text{ref}}(y_w|x) + \pi_{\text{ref}}(y_l|x)), \quad w_l = (1 - \alpha) \cdot (\pi_{\text{ref}}(y_w|x) + \pi_{\text{ref}}(y_l|x)) \quad (7)"
        }
        "S6" | "S7" => r"w_w = \pi_{\text{ref}}(y_w \mid x) + \pi_{\text{ref}}(y_l \mid x)",
        "I1" => r"\text{loss} = -\text{mean}\left(w_w \log p_w + (1 - w_w) \log p_o\right)",
        "I2" => r"\log P(y_o + y_l) = \text{logsumexp}_{y_o, y_l}\, \pi_\theta(y_o \mid x)",
        "I3" => r"\log p_o = \text{logsumexp}_{v \notin \{y_{w,t}, y_{l,t}\}} \log p_v",
        "I4" => r"\log p_t = \text{logsoftmax}(\text{logits})_{t}, \quad \text{logits}: (B, T, V), \; y_w, y_l: (B, T)",
        "I5" => r"w_w: \text{Weight for winning sequence } (B, T)",
        "I6" => {
            r"\text{mask}_{y_{w,t}} = \text{mask}_{y_{l,t}} = \text{False}, \quad w_w = p_{\text{ref}}(y_{w,t}) + p_{\text{ref}}(y_{l,t})"
        }
        "I7" => r"\text{loss} = -\frac{1}{BT} \sum_{b,t} \left(w_w \log p_w + (1 - w_w) \log p_o\right)",
        "I8" => r"\arg\min \; {-\text{mean}}\left(w_w \log p_w + (1 - w_w) \log p_o\right) = \arg\min L_{\text{SLPO}}",
        "C1" => r"\nabla^2 L_{\text{SLPO}} \succeq 0",
        "G1" => r"\frac{L}{m} \to -\alpha u - (1 - \alpha) v + e^u + e^v, \quad u = l_w - \log m, \; v = l_l - \log m",
        "R1" => {
            r"w_w = \pi_{\text{ref}}(y_w|x) + \alpha\, \pi_{\text{ref}}(y_l|x), \quad w_l = (1 - \alpha)\, \pi_{\text{ref}}(y_l|x), \quad 0 \le \alpha \le 1 \quad (7)"
        }
        "R2" => r"\pi(\bar{y} \mid x) = \sum_{t=1}^{T} \pi(y_{<t} \mid x) \left(1 - \pi(y_t \mid x, y_{<t})\right)",
        "R3" => {
            r"\log \pi(\bar{y} \mid x) = \sum_{t=1}^{T} \left(\sum_{k=1}^{t-1} g(y_k) + \text{LSE}_{v \neq y_t}\, g(v \mid x, y_{<t})\right)"
        }
        "R4" => {
            r"L = \frac{1}{4} \sum_{y \in \{y_w, y_l\}} \text{KL}\left(\sigma\left(\tfrac{1}{T} \log \tfrac{q}{1 - q}\right) \,\middle\|\, \sigma\left(\tfrac{1}{T} \log \tfrac{\pi}{1 - \pi}\right)\right), \quad q_w = w_w, \; q_l = w_l"
        }
        "R5" | "R6" => r"P = \sigma\left(\frac{1}{T} \log \frac{\pi_\theta(y|x)}{1 - \pi_\theta(y|x)}\right)",
        "R7" => r"\text{KL} = \sum_i e^{t_i} (t_i - x_i), \quad t = (-\infty, 0)",
        "R8" => r"\text{batchmean} = \frac{1}{n} \sum_{i=1}^{n} e^{t_i} (t_i - x_i), \quad n = 2",
        "R9" => r"L = f(\pi_\theta(y_w \mid x), \pi_\theta(y_l \mid x))",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_claim_has_a_formula_and_no_other_id_has() {
        let claims = losses::audit::audit(0);
        let missing: Vec<&str> = claims.iter().map(|claim| claim.id).filter(|id| super::of(id).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(super::of("E9"), None);
    }
}
