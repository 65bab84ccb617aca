//! Kubernetes's quantities, as far as two of them have to be compared: `1000m` is `1`, `1Gi` is `1024Mi`.
//!
//! See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

/// The value of a quantity in thousandths, if it is one. Wide enough for all that are told apart here.
pub fn value(quantity: &str) -> Option<i128> {
    let end = quantity
        .find(|character: char| {
            !character.is_ascii_digit() && character != '.' && character != '+' && character != '-'
        })
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let (numerator, denominator) = factor(suffix)?;
    let thousandths = digits.checked_mul(1000)?.checked_mul(numerator)?;
    // Rounded up, as Kubernetes does.
    let divisor = scale.checked_mul(denominator)?;
    Some(thousandths.div_euclid(divisor) + i128::from(thousandths.rem_euclid(divisor) != 0))
}

fn factor(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        // 12e6
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn the_same_amount_has_the_same_value_however_it_is_written() {
        for (one, other) in [
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.1", "100m"),
            ("1e3", "1k"),
            ("100m", "0.10"),
        ] {
            assert_eq!(value(one), value(other), "{one} and {other}");
        }
    }

    #[test]
    fn another_amount_has_another_value() {
        assert!(value("1G") < value("1Gi"));
        assert!(value("999m") < value("1"));
    }

    #[test]
    fn what_is_no_quantity_has_no_value() {
        for text in ["", "Gi", "one", "1 Gi", "1gi", "1.2.3"] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
