use super::*;
use crate::aggregate::dice::Dice;

fn guarantee(epsilon: f64, delta: f64) -> Guarantee {
    Guarantee::new(epsilon, delta).unwrap()
}

/// Found by another search over α (golden section), in another language.
#[test]
fn epsilon_has_the_reference_s_values() {
    for (rho, delta, epsilon) in [
        (0.25, 1e-6, 3.542_291_300),
        (0.01, 1e-9, 0.810_174_468),
        (1.0, 1e-5, 7.077_196_696),
        (0.0735, 1e-6, 1.812_189_797),
        (5.0, 1e-6, 20.551_948_814),
        (0.5, 1e-10, 6.839_329_413),
    ] {
        let found = Rho::from_trillionths((rho * 1e12) as u64).epsilon(delta);
        assert!(found >= epsilon - 1e-6, "{found} promises more than is true: {epsilon}");
        assert!(found < epsilon * 1.000_01, "{found} wastes budget: {epsilon}");
        // Bun & Steinke, Proposition 1.3.
        let simple = rho + 2.0 * f64::sqrt(rho * (1.0 / delta).ln());
        assert!(found <= simple, "{found} {simple}");
    }
    assert_eq!(Rho::ZERO.epsilon(1e-6), 0.0);
}

#[test]
fn what_may_be_spent_is_the_most_that_keeps_the_guarantee() {
    for (epsilon, delta, rho) in [(4.0, 1e-6, 0.311_064_95), (1.0, 5e-10, 0.014_407_58)] {
        let most = Rho::within(guarantee(epsilon, delta));
        assert!((most.value() / rho - 1.0).abs() < 1e-4, "{most:?}");
        assert!(most.epsilon(delta) <= epsilon);
        assert!(most.plus(Rho::from_trillionths(1)).epsilon(delta) > epsilon);
    }
}

#[test]
fn what_can_t_be_is_named() {
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY, 16.1] {
        let refused = Guarantee::new(epsilon, 1e-6);
        assert!(matches!(refused, Err(PrivacyError::Epsilon(_))), "{epsilon}: {refused:?}");
    }
    for delta in [0.0, -1.0, f64::NAN, 1.1e-4, 1e-16] {
        let refused = Guarantee::new(1.0, delta);
        assert!(matches!(refused, Err(PrivacyError::Delta(_))), "{delta}: {refused:?}");
    }
    assert_eq!(Sensitivity::of_cells(0, 5), Err(PrivacyError::Sensitivity(0)));
    let much = Sensitivity::of_cells(3, u64::MAX / 2);
    assert_eq!(much, Err(PrivacyError::Sensitivity(u64::MAX)));
    let sensitivity = Sensitivity::of_cells(3, 1 << 30).unwrap();
    assert_eq!(Gaussian::new(sensitivity, Rho::ZERO), Err(PrivacyError::Free));
    let little = Gaussian::new(sensitivity, Rho::from_trillionths(1));
    assert!(matches!(little, Err(PrivacyError::Noise(_))), "{little:?}");
}

#[test]
fn noise_is_as_wide_as_it_must_be() {
    let sensitivity = Sensitivity::of_cells(3, 1_000).unwrap();
    for trillionths in [3_000_000_001, 77_766_238_735, 1_000_000_000_000] {
        let rho = Rho::from_trillionths(trillionths);
        let noise = Gaussian::new(sensitivity, rho).unwrap();
        let costs = |variance: u64| sensitivity.squared() as f64 / (2.0 * variance as f64);
        assert!(costs(noise.variance()) <= rho.value());
        assert!(costs(noise.variance() - 1) > rho.value() * 0.999_999);
        assert_eq!(noise.rho(), rho);
    }
}

#[test]
fn a_ledger_gives_no_more_than_its_limit() {
    let rho = Rho::from_trillionths;
    let mut ledger = Ledger::new(rho(100), Rho::ZERO);
    for _ in 0..3 {
        ledger = ledger.charge(rho(33)).unwrap();
    }
    assert_eq!((ledger.spent(), ledger.left()), (rho(99), rho(1)));
    let refused = ledger.charge(rho(2));
    assert_eq!(refused, Err(PrivacyError::Spent { left: 1, wanted: 2 }));
    assert_eq!(ledger.charge(rho(1)).unwrap().left(), Rho::ZERO);
    // A limit that was lowered below what is spent leaves nothing, not a wrapped-around fortune.
    assert_eq!(Ledger::new(rho(10), rho(99)).left(), Rho::ZERO);
}

#[test]
fn shares_never_add_up_to_more() {
    for trillionths in [1, 10, 99, 77_766_238_735] {
        let whole = Rho::from_trillionths(trillionths);
        for of in [1, 3, 4, 7, 365] {
            assert!(whole.share(1, of).times(of) <= whole);
            assert_eq!(whole.share(of, of), whole);
            assert_eq!(whole.share(of + 1, of), whole);
        }
    }
}

/// A key that one household made up is shown as seldom as is promised.
#[test]
fn a_key_of_one_household_stays_hidden() {
    let noise =
        Gaussian::new(Sensitivity::of_cells(10, 1).unwrap(), Rho::from_trillionths(1 << 37));
    let (noise, mut dice, tries) = (noise.unwrap(), Dice::new(7), 20_000);
    let (keys, delta) = (10, 0.05);
    let threshold = noise.threshold(1, keys, delta);
    let shown = (0..tries).filter(|_| {
        let mut shown = false;
        for _ in 0..keys {
            shown |= 1 + noise.sample(&mut dice).unwrap() >= threshold;
        }
        shown
    });
    let rate = shown.count() as f64 / f64::from(tries);
    assert!(rate <= delta, "{rate}");
    // Not hidden by far more than is needed: the bound on the tail costs half a deviation at most.
    let nearer = threshold - (noise.sigma() / 2.0).ceil() as i64;
    assert!(rate > 0.0 && nearer > 0, "{rate} {nearer}");
}
