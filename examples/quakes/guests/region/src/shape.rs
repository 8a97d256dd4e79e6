//! Shapes on the map, in degrees east and north, and whether a point is in one. None crosses the 180th meridian.

/// An area of the map.
pub(crate) enum Shape {
    /// West, south, east, north; the edges belong to it.
    Rect(f64, f64, f64, f64),
    /// The corners of an outline, closed by itself.
    Outline(&'static [(f64, f64)]),
}

impl Shape {
    /// Whether the point is inside.
    pub(crate) fn contains(&self, longitude: f64, latitude: f64) -> bool {
        match *self {
            Self::Rect(west, south, east, north) => {
                (west..=east).contains(&longitude) && (south..=north).contains(&latitude)
            }
            Self::Outline(corners) => inside(corners, longitude, latitude),
        }
    }
}

/// Counts the edges that a ray to the east crosses: an odd number means inside.
fn inside(corners: &[(f64, f64)], longitude: f64, latitude: f64) -> bool {
    let ends = corners.iter().cycle().skip(1);
    let crossed = corners.iter().zip(ends).filter(|((x1, y1), (x2, y2))| {
        // Half open, so that a ray through a corner crosses one of its two edges.
        (*y1 > latitude) != (*y2 > latitude)
            && longitude < (x2 - x1) * (latitude - y1) / (y2 - y1) + x1
    });
    crossed.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_with_a_dent_excludes_the_dent() {
        let shape = Shape::Outline(&[
            (0.0, 0.0),
            (10.0, 0.0),
            (10.0, 10.0),
            (5.0, 2.0),
            (0.0, 10.0),
        ]);
        assert!(shape.contains(1.0, 1.0));
        assert!(shape.contains(9.0, 7.0));
        assert!(!shape.contains(5.0, 5.0));
        assert!(!shape.contains(-1.0, 0.0));
        assert!(!shape.contains(20.0, 2.0));
    }

    #[test]
    fn nowhere_is_in_no_shape() {
        let shape = Shape::Rect(-180.0, -90.0, 180.0, 90.0);
        assert!(shape.contains(180.0, 90.0));
        assert!(!shape.contains(f64::NAN, 0.0));
        assert!(!shape.contains(0.0, f64::INFINITY));
    }
}
