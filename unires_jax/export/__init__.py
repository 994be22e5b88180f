"""`unires export`: a trained model as a folder that other systems can use."""
