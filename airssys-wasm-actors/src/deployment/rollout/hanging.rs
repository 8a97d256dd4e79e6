//! A disk that does not come back while the registry is asked: nobody can end that, and everybody is to know.
//!
//! Owns how long the registry may take before it is said. What was asked is waited for all the same, since whether it is
//! done shows with its answer alone. Costs a timer for each time that the registry is asked.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::registry::Registry;

/// How long the registry may take: the slowest disk that still answers takes a few seconds for a sync.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// The answer of the registry, which is asked to do `what`. If it does not come, `hold` is told so, and when it has come, what
/// held the deployment up before.
pub(super) async fn watched<T>(
    registry: &Registry,
    what: &str,
    asked: impl Future<Output = T>,
    hold: &impl Fn(Option<String>),
    before: Option<&str>,
) -> T {
    let mut asked = pin!(asked);
    if let Ok(answer) = timeout(HANGS_AFTER, &mut asked).await {
        return answer;
    }
    hold(Some(format!(
        "the registry has not answered within {} s, when it was to {what}: look at the disk of {}; a host that is stopped \
         instead boots what is recorded as permanent",
        HANGS_AFTER.as_secs(),
        registry.directory().display()
    )));
    let answer = asked.await;
    hold(before.map(str::to_owned));
    answer
}
