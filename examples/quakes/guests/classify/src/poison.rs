//! Which events are poisoned. Decided from an event's number alone: an instance that died on one has
//! nothing to remember, and the same events are chosen on every run.

use std::fmt;

/// The last number that can be chosen is below this: the example's feed has 1,707 events.
const SPREAD_OVER: u32 = 1700;

/// How many events make the instance trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    events: u32,
}

impl Poison {
    /// No event does.
    pub(crate) const NONE: Self = Self { events: 0 };

    /// Reads the key `poison`: how many events to choose, none if it is not there.
    pub(crate) fn from_config(config: &[(String, String)]) -> Result<Self, String> {
        let mut poison = Self::NONE;
        for (key, value) in config {
            if key != "poison" {
                return Err(format!(
                    "unknown configuration key `{key}`: there is `poison`"
                ));
            }
            let events = value.parse();
            poison.events = events
                .map_err(|_| format!("poison = `{value}`: not a number from 0 to {}", u32::MAX))?;
        }
        Ok(poison)
    }

    /// Whether the event with this number is chosen: every `stride`th from 0, until there are enough.
    pub(crate) fn hits(self, number: u32) -> bool {
        let stride = SPREAD_OVER
            .checked_div(self.events)
            .map_or(1, |stride| stride.max(1));
        number.is_multiple_of(stride) && number / stride < self.events
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "will trap on {} chosen events", self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poison(value: &str) -> Result<Poison, String> {
        Poison::from_config(&[("poison".to_owned(), value.to_owned())])
    }

    #[test]
    fn exactly_as_many_events_of_the_feed_as_asked_for() {
        for asked in (0..=1707).chain([5000, u32::MAX]) {
            let poison = poison(&asked.to_string()).unwrap();
            let hit = (0..1707).filter(|number| poison.hits(*number)).count();
            assert_eq!(hit, asked.min(1707) as usize, "poison = {asked}");
        }
    }

    #[test]
    fn the_chosen_are_spread_over_the_feed() {
        let poison = poison("25").unwrap();
        let hit: Vec<_> = (0..1707).filter(|number| poison.hits(*number)).collect();
        assert_eq!(hit[..3], [0, 68, 136]);
        assert_eq!(hit.last(), Some(&1632));
    }

    #[test]
    fn configuration_that_is_not_understood_is_refused() {
        assert_eq!(Poison::from_config(&[]), Ok(Poison::NONE));
        assert!(poison("-1").unwrap_err().contains("`-1`"));
        let other = Poison::from_config(&[("posion".to_owned(), "1".to_owned())]);
        assert!(other.unwrap_err().contains("`posion`"));
    }
}
