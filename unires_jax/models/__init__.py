"""The model: layers, backbones, fusion, and UniRES itself.

`layers` are modules; what they compute has a textbook form (`plain`) and a fast one
(`fast`), chosen in `forms`. Nothing here knows data, a loss or an optimizer.
"""
