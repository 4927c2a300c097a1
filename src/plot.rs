//! Drawing of charts as SVG. A font's widths are estimated, so that no font library is needed.

use std::io;

use plotters::{coord::Shift, prelude::*};

/// Width and height of a chart, in pixels.
const SIZE: (u32, u32) = (960, 540);
/// Labels that find room beside each other, if each is about as long as a number.
const MOST_LABELS: usize = 20;
const FONT: &str = "sans-serif";
const BAR: RGBColor = RGBColor(0x2f, 0x6f, 0xb2);
/// Room over the highest bar.
const HEADROOM: f64 = 1.05;

/// A bar chart.
#[derive(Debug)]
pub(crate) struct Bars<'a> {
    pub title: &'a str,
    /// What the labels are.
    pub label_axis: &'a str,
    /// What the values are, with their unit.
    pub value_axis: &'a str,
    /// Label and value of each bar, from left to right. Where there is no room for all labels,
    /// evenly spaced ones are shown.
    pub bars: &'a [(String, f64)],
}

/// Charts, one under the other, as an SVG document.
pub(crate) fn bars(charts: &[Bars<'_>]) -> io::Result<String> {
    let mut svg = String::new();
    let rows = charts.len().max(1);
    let size = (SIZE.0, SIZE.1 * rows as u32);
    draw_all(charts, SVGBackend::with_string(&mut svg, size)).map_err(io::Error::other)?;
    Ok(svg)
}

type Drawn<'s> = Result<(), DrawingAreaErrorKind<<SVGBackend<'s> as DrawingBackend>::ErrorType>>;

fn draw_all<'s>(charts: &[Bars<'_>], backend: SVGBackend<'s>) -> Drawn<'s> {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((charts.len().max(1), 1));
    for (chart, area) in charts.iter().zip(&areas) {
        draw(chart, area)?;
    }
    root.present()
}

fn draw<'s>(chart: &Bars<'_>, area: &DrawingArea<SVGBackend<'s>, Shift>) -> Drawn<'s> {
    let values = chart.bars.iter().map(|&(_, value)| value);
    let highest = values.fold(0.0, f64::max);
    // An axis needs some length, and a place for at least one bar.
    let top = if highest > 0.0 {
        highest * HEADROOM
    } else {
        1.0
    };
    let last = chart.bars.len().saturating_sub(1);
    let label = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(number) | SegmentValue::Exact(number) => chart
            .bars
            .get(*number)
            .map(|(label, _)| label.clone())
            .unwrap_or_default(),
        SegmentValue::Last => String::new(),
    };
    let mut axes = ChartBuilder::on(area)
        .caption(chart.title, (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(88)
        .build_cartesian_2d((0..last).into_segmented(), 0.0..top)?;
    axes.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 16))
        .x_labels(MOST_LABELS)
        .x_desc(chart.label_axis)
        .y_desc(chart.value_axis)
        .x_label_formatter(&label)
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    let bar = |(number, &(_, value)): (usize, &(String, f64))| {
        let end = match number {
            _ if number == last => SegmentValue::Last,
            _ => SegmentValue::Exact(number + 1),
        };
        let corners = [(SegmentValue::Exact(number), 0.0), (end, value)];
        let mut bar = Rectangle::new(corners, BAR.filled());
        bar.set_margin(0, 0, 1, 1);
        bar
    };
    axes.draw_series(chart.bars.iter().enumerate().map(bar))?;
    Ok(())
}

/// A value of an axis, without what floating-point arithmetic leaves behind.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(bars_drawn: &[(&str, f64)]) -> String {
        let rows: Vec<_> = bars_drawn
            .iter()
            .map(|&(label, value)| (label.to_owned(), value))
            .collect();
        let chart = Bars {
            title: "A <title> & more",
            label_axis: "labels",
            value_axis: "values",
            bars: &rows,
        };
        bars(&[chart]).unwrap()
    }

    #[test]
    fn a_bar_for_each_value() {
        let svg = drawn(&[("one", 1.0), ("two", 2.0), ("three", 0.5)]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("A &lt;title&gt; &amp; more"));
        for text in ["labels", "values", "one", "two", "three"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(heights(&svg).len(), 3);
        let [one, two, three] = heights(&svg)[..] else {
            panic!("{svg}")
        };
        assert!(two.abs_diff(2 * one) <= 2 && one.abs_diff(2 * three) <= 2);
    }

    #[test]
    fn few_bars_and_none() {
        for rows in [&[][..], &[("one", 1.0)], &[("one", 0.0), ("two", 0.0)]] {
            let svg = drawn(rows);
            assert_eq!(heights(&svg).len(), rows.len(), "{svg}");
            assert!(!svg.contains("NaN"));
        }
    }

    #[test]
    fn numbers() {
        for (value, expected) in [
            (0.0, "0"),
            (1200.0, "1200"),
            (0.1 + 0.2, "0.3"),
            (12.5, "12.5"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    /// Heights of the bars, in pixels.
    fn heights(svg: &str) -> Vec<u32> {
        let height = |element: &str| -> Option<u32> {
            let (_, rest) = element.split_once("height=\"")?;
            rest.split_once('"')?.0.parse().ok()
        };
        let is_bar = |element: &&str| element.contains("#2F6FB2");
        svg.split("<rect")
            .filter(is_bar)
            .filter_map(height)
            .collect()
    }
}
