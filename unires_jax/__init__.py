"""UniRES in JAX/Flax: multi-granularity referring expression segmentation."""

__version__ = "0.1.0"
