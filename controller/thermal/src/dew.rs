//! The dew point: where water begins to settle on a surface.

use roost_types::{MilliCelsius, MilliPercent};

/// Magnus coefficients over water, −45 to 60 °C: D. Sonntag, "Important new values of the physical constants of 1986,
/// vapour pressure formulations based on the ITS-90, and psychrometer formulae", Z. Meteorol. 40 (1990) 340–344; also
/// in the WMO Guide to Meteorological Instruments and Methods of Observation (WMO-No. 8).
const MAGNUS_B: f64 = 17.62;
/// In °C.
const MAGNUS_C: f64 = 243.12;

/// The dew point of air at this temperature and relative humidity, by the Magnus formula. None for air that is drier
/// than 0.1 % (it has no dew point a probe could tell) or a temperature at which the formula has no meaning.
#[must_use]
pub fn dew_point(temperature: MilliCelsius, humidity: MilliPercent) -> Option<MilliCelsius> {
    let (t, rh) = (temperature.as_f64(), humidity.as_f64().min(100.0));
    if rh < 0.1 || t <= -MAGNUS_C {
        return None;
    }
    let gamma = (rh / 100.0).ln() + MAGNUS_B * t / (MAGNUS_C + t);
    Some(MilliCelsius::from_f64(MAGNUS_C * gamma / (MAGNUS_B - gamma)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_dew_points() {
        // Psychrometric tables at 1013 hPa, to a tenth of a degree.
        for (celsius, percent, expected) in
            [(20, 50, 9.3), (25, 60, 16.7), (30, 70, 23.9), (35, 20, 8.7), (40, 90, 38.0), (10, 100, 10.0)]
        {
            let dew = dew_point(MilliCelsius::whole(celsius), MilliPercent::whole(percent)).unwrap();
            assert!((dew.as_f64() - expected).abs() <= 0.1, "{celsius} °C {percent} %: {dew:?}, not {expected}");
        }
    }

    #[test]
    fn dry_air_and_nonsense_have_none() {
        assert_eq!(dew_point(MilliCelsius::whole(20), MilliPercent(0)), None);
        assert_eq!(dew_point(MilliCelsius::whole(20), MilliPercent(-5_000)), None);
        assert_eq!(dew_point(MilliCelsius::whole(-300), MilliPercent::whole(50)), None);
    }
}
