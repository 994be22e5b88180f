"""The model: layers, backbones, fusion, and UniRES itself."""
